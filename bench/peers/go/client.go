package main

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bulkSize    = 65536
	warmUp      = 500
	manySeconds = 5
)

func act(t task) {
	dial := dialler(t)
	switch t.scenario {
	case "bulk":
		streamAlone(dial(), bulkSize, t.n)
	case "rate":
		streamAlone(dial(), 100, t.n)
	case "pingpong":
		pingPong(dial(), int(t.n))
	case "lat":
		paced(dial(), int(t.n*200))
	case "connect":
		connectAnew(dial, int(t.n))
	case "many":
		many(dial, int(t.n))
	case "idle":
		idle(dial, int(t.n))
	default:
		fail(fmt.Errorf("unknown scenario %s", t.scenario))
	}
}

// stream sends for so many seconds, then END, and waits until all is taken; how many it sent.
func stream(w *wire, size int, seconds float64) int {
	message := make([]byte, size)
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	sent, glance := 0, 1 // messages between two looks at the clock
	if size < bulkSize {
		glance = 16
	}
	for ; sent%glance != 0 || time.Now().Before(end); sent++ {
		fail(w.send(message))
	}
	fail(w.send([]byte("END")))
	w.closed()
	return sent
}

func streamAlone(w *wire, size int, seconds float64) {
	used := cpu()
	sent := stream(w, size, seconds)
	say(figures{"role": "client", "sent": sent, "cpu": cpu() - used})
}

func many(dial func() *wire, connections int) {
	wires := make([]*wire, connections)
	for i := range wires {
		wires[i] = dial()
		fail(wires[i].send([]byte("hi"))) // a QUIC server sees a stream when something comes on it
	}
	used, sent := cpu(), atomic.Int64{}
	var running sync.WaitGroup
	for _, w := range wires {
		running.Add(1)
		go func() {
			defer running.Done()
			sent.Add(int64(stream(w, bulkSize, manySeconds)))
		}()
	}
	running.Wait()
	say(figures{"role": "client", "sent": sent.Load(), "cpu": cpu() - used})
}

func pingPong(w *wire, rounds int) {
	message, used := make([]byte, 1024), cpu()
	var times []int64
	for round := range rounds + warmUp {
		began := now()
		fail(w.send(message))
		_, err := w.receive()
		fail(err)
		if round >= warmUp {
			times = append(times, now()-began)
		}
	}
	line := percentiles("client", times)
	line["cpu"] = cpu() - used
	say(line)
}

func paced(w *wire, count int) {
	began, message := time.Now(), make([]byte, 200)
	for index := range count {
		time.Sleep(time.Until(began.Add(time.Duration(index) * 5 * time.Millisecond)))
		binary.BigEndian.PutUint64(message, uint64(now()))
		fail(w.send(message))
	}
	fail(w.send([]byte("END")))
	w.closed()
	say(figures{"role": "client", "sent": count})
}

func connectAnew(dial func() *wire, tries int) {
	var ages, answers []int64
	for range tries {
		began := now()
		w := dial()
		fail(w.send(binary.BigEndian.AppendUint64(nil, uint64(began))))
		answer, err := w.receive()
		fail(err)
		answers = append(answers, now()-began)
		ages = append(ages, int64(binary.BigEndian.Uint64(answer)))
		w.close()
		time.Sleep(100 * time.Millisecond)
	}
	ages, answers = sorted(ages), sorted(answers)
	say(figures{
		"role": "client", "srv_ms": at(ages, 0.5) / 1e6,
		"reply_ms": at(answers, 0.5) / 1e6, "reply_max_ms": at(answers, 1) / 1e6,
	})
}

func idle(dial func() *wire, connections int) {
	fmt.Println("BASE")
	time.Sleep(500 * time.Millisecond)
	wires := make([]*wire, connections)
	for i := range wires {
		wires[i] = dial()
		fail(wires[i].send([]byte("hi")))
		_, err := wires[i].receive()
		fail(err)
	}
	fmt.Println("IDLE")
	time.Sleep(15 * time.Second)
	say(figures{"role": "client", "n": len(wires)})
}
