package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// headers is a flag that may be given several times.
type headers []string

func (h *headers) String() string          { return strings.Join(*h, ", ") }
func (h *headers) Set(header string) error { *h = append(*h, header); return nil }

// worker is one connection and what it measured, in nanoseconds.
type worker struct {
	request          []byte
	address          string
	latency, toFirst []int64
	failed           int
	reason           string
}

// load sends the same request over and over and prints what it measured, as JSON. With a rate, requests start on a
// timetable, and one that waits for a free connection counts from when it was due; else as fast as answers come.
func load(arguments []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	address := flags.String("address", "", "host:port")
	path := flags.String("path", "/v1/chat/completions", "")
	body := flags.String("body", "", "")
	connections := flags.Int("connections", 16, "")
	seconds := flags.Float64("seconds", 5, "")
	rate := flags.Float64("rate", 0, "requests a second; 0 for as fast as answers come")
	var more headers
	flags.Var(&more, "header", "NAME: VALUE")
	if err := flags.Parse(arguments); err != nil {
		fail(err.Error())
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n", *path, *address, len(*body))
	for _, header := range more {
		head += header + "\r\n"
	}
	var next atomic.Int64
	var group sync.WaitGroup
	workers := make([]*worker, *connections)
	begin := time.Now()
	end := begin.Add(time.Duration(*seconds * float64(time.Second)))
	for at := range workers {
		workers[at] = &worker{request: []byte(head + "\r\n" + *body), address: *address}
		group.Go(func() { workers[at].run(begin, end, *rate, &next) })
	}
	group.Wait()
	report(workers, time.Since(begin))
}

func (w *worker) run(begin, end time.Time, rate float64, next *atomic.Int64) {
	var connection net.Conn
	var in *bufio.Reader
	scratch := make([]byte, 0, 64<<10)
	for {
		due := time.Now()
		if rate > 0 {
			planned := begin.Add(time.Duration(float64(next.Add(1)-1) / rate * float64(time.Second)))
			if planned.After(due) {
				time.Sleep(planned.Sub(due))
				due = time.Now() // the timer's own lateness is not the gateway's
			} else {
				due = planned
			}
		}
		if !due.Before(end) {
			return
		}
		if connection == nil {
			var err error
			if connection, err = net.DialTimeout("tcp", w.address, 5*time.Second); err != nil {
				w.fail(err.Error())
				time.Sleep(10 * time.Millisecond)
				continue
			}
			defer connection.Close()
			in = bufio.NewReaderSize(connection, 64<<10)
		}
		var first int64
		err := connection.SetDeadline(time.Now().Add(30 * time.Second))
		if err == nil {
			_, err = connection.Write(w.request)
		}
		var start string
		var body []byte
		if err == nil {
			start, body, err = message(in, scratch, func() { first = time.Since(due).Nanoseconds() })
		}
		took := time.Since(due).Nanoseconds()
		if err != nil {
			w.fail(err.Error())
			connection.Close()
			connection = nil
			continue
		}
		if !strings.HasPrefix(start, "HTTP/1.1 200") {
			w.fail(start + " " + string(body[:min(len(body), 300)]))
			continue
		}
		w.latency = append(w.latency, took)
		w.toFirst = append(w.toFirst, first)
	}
}

func (w *worker) fail(reason string) {
	w.failed++
	w.reason = reason
}

func report(workers []*worker, took time.Duration) {
	var latency, toFirst []int64
	failed, reason := 0, ""
	for _, each := range workers {
		latency = append(latency, each.latency...)
		toFirst = append(toFirst, each.toFirst...)
		failed += each.failed
		if each.reason != "" {
			reason = each.reason
		}
	}
	slices.Sort(latency)
	slices.Sort(toFirst)
	at := func(sorted []int64, share float64) float64 {
		if len(sorted) == 0 {
			return 0
		}
		return float64(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]) / 1e6
	}
	made := map[string]any{
		"requests": len(latency), "failed": failed, "reason": reason, "seconds": took.Seconds(),
		"p50_ms": at(latency, 0.5), "p99_ms": at(latency, 0.99), "first_p50_ms": at(toFirst, 0.5),
	}
	if err := json.NewEncoder(os.Stdout).Encode(made); err != nil {
		fail(err.Error())
	}
}
