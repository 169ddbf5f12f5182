// TLS over TCP, plain TCP and quic-go (QUIC) as peers of the benchmark. bench/README.md has the scenarios and what is
// printed.
//
//	go-peer tls|tcp|quic server|client HOST:PORT SCENARIO N
//
// A message is its length in four bytes and its content, on one stream. Certificates aren't verified.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"syscall"
	"time"
)

// task is what one of the two programs was asked for.
type task struct {
	protocol, address, scenario string
	n                           float64
}

func main() {
	if len(os.Args) != 6 {
		fail(fmt.Errorf("usage: go-peer tls|tcp|quic server|client HOST:PORT SCENARIO N"))
	}
	n, err := strconv.ParseFloat(os.Args[5], 64)
	fail(err)
	asked := task{protocol: os.Args[1], address: os.Args[3], scenario: os.Args[4], n: n}
	if os.Args[2] == "server" {
		serve(asked)
	} else {
		act(asked)
	}
}

// fail ends the program, unless the error is nil.
func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type figures map[string]any

func say(line figures) {
	text, err := json.Marshal(line)
	fail(err)
	fmt.Println(string(text))
}

// now is the wall clock in ns: both programs run on one machine, so it compares between them.
func now() int64 { return time.Now().UnixNano() }

// cpu is what this process used so far, user and system, all threads, in seconds.
func cpu() float64 {
	var usage syscall.Rusage
	fail(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

// at is the time that `share` of the sorted times don't exceed.
func at(sorted []int64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))])
}

func sorted(times []int64) []int64 {
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times
}

func percentiles(role string, times []int64) figures {
	times = sorted(times)
	us := func(share float64) float64 { return at(times, share) / 1e3 }
	return figures{
		"role": role, "n": len(times),
		"p50_us": us(0.5), "p99_us": us(0.99), "p999_us": us(0.999), "max_us": us(1),
	}
}
