package main

import (
	"encoding/binary"
	"os"
	"sync"
	"time"
)

// counted is what came on one connection.
type counted struct {
	bytes, messages int
	last            int64
}

// start is when the first message came, and what the process had used until then.
var start struct {
	once sync.Once
	at   int64
	cpu  float64
}

func serve(t task) {
	switch t.scenario {
	case "bulk", "rate":
		serveCounting(t, 1)
	case "many":
		serveCounting(t, int(t.n))
	case "lat":
		listen(t, oneWayTimes)
	case "connect":
		listen(t, answerAge)
	default:
		listen(t, echo)
	}
}

// serveCounting counts on so many connections until the END of each.
func serveCounting(t task, connections int) {
	results := make(chan counted, connections)
	go listen(t, func(w *wire) { results <- count(w) })
	sum, least := counted{}, -1
	for range connections {
		one := <-results
		sum.bytes += one.bytes
		sum.messages += one.messages
		sum.last = max(sum.last, one.last)
		if least < 0 || one.bytes < least {
			least = one.bytes
		}
	}
	say(figures{
		"role": "server", "bytes": sum.bytes, "msgs": sum.messages,
		"secs": float64(sum.last-start.at) / 1e9, "cpu": cpu() - start.cpu,
		"least_share": float64(least*connections) / float64(sum.bytes),
	})
	leave()
}

// leave ends the process when the closes have gone out.
func leave() {
	time.Sleep(100 * time.Millisecond)
	os.Exit(0)
}

func count(w *wire) counted {
	var one counted
	for {
		message, err := w.receive()
		fail(err)
		if len(message) == 2 {
			continue
		}
		if len(message) == 3 {
			w.close()
			return one
		}
		one.last = now()
		start.once.Do(func() { start.at, start.cpu = one.last, cpu() })
		one.bytes += len(message)
		one.messages++
	}
}

func age(message []byte) int64 { return now() - int64(binary.BigEndian.Uint64(message)) }

func oneWayTimes(w *wire) {
	var times []int64
	for {
		message, err := w.receive()
		fail(err)
		if len(message) == 3 {
			break
		}
		times = append(times, age(message))
	}
	say(percentiles("server", times))
	w.close()
	leave()
}

func answerAge(w *wire) {
	message, err := w.receive()
	if err != nil {
		return
	}
	_ = w.send(binary.BigEndian.AppendUint64(nil, uint64(age(message))))
	w.closed()
}

func echo(w *wire) {
	for {
		message, err := w.receive()
		if err != nil || w.send(message) != nil {
			return
		}
	}
}
