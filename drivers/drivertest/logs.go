package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/google/go-cmp/cmp"
)

func testLogBytes(s *suite) {
	var b strings.Builder
	for i := range 256 {
		b.WriteByte(byte(i))
	}
	for _, text := range []string{b.String(), "no newline at the end", "\n\n\r\n", "ends with blank \n", "\x00", ""} {
		h := s.start(s.spec(Workload{Kind: Text, Text: text}))
		s.wait(h)
		if d := cmp.Diff(text, s.stdout(h)); d != "" {
			s.Errorf("output of %q (-want +got):\n%s", text, d)
		}
	}
}

func testLogLongLine(s *suite) {
	const size = 1 << 20
	h := s.start(s.spec(Workload{Kind: Fill, N: size}))
	s.wait(h)
	if got := s.stdout(h); got != strings.Repeat("x", size) {
		s.Errorf("a line of %d bytes came back with %d bytes, or others", size, len(got))
	}
}

func testLogStreams(s *suite) {
	const n = 200
	h := s.start(s.spec(Workload{Kind: Streams, N: n}))
	s.wait(h)
	out := s.logs(h, all)
	if d := cmp.Diff(numbered("out", n), out.stdout.String()); d != "" {
		s.Errorf("standard output (-want +got):\n%s", d)
	}
	if d := cmp.Diff(numbered("err", n), out.stderr.String()); d != "" {
		s.Errorf("standard error (-want +got):\n%s", d)
	}
}

func testLogOrder(s *suite) {
	const n = 5000
	begin := time.Now()
	h := s.start(s.spec(Workload{Kind: Lines, N: n}))
	s.wait(h)
	out := s.logs(h, all)
	if got := out.stdout.String(); got != numbered("line", n) {
		s.Errorf("%d bytes of output, want %d lines in order", len(got), n)
	}
	last := begin.Add(-5 * time.Second)
	for _, e := range out.entries {
		if e.Time.Before(last) {
			s.Fatalf("entry of %v after one of %v", e.Time, last)
		}
		last = e.Time
	}
}

// numbered returns "word 1\n" … "word n\n".
func numbered(word string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s %d\n", word, i+1)
	}
	return b.String()
}

func testLogTailSince(s *suite) {
	h := s.start(s.spec(Workload{Kind: Lines, N: 20}))
	s.wait(h)
	for tail, want := range map[int]string{0: "", 1: "line 20\n", 3: "line 18\nline 19\nline 20\n", 20: numbered("line", 20), 100: numbered("line", 20), -1: numbered("line", 20)} {
		if got := s.logs(h, drivers.LogOptions{Tail: tail}).stdout.String(); got != want {
			s.Errorf("tail %d: %q, want %q", tail, got, want)
		}
	}

	h = s.start(s.spec(Workload{Kind: WaitShort, N: 1}))
	s.wait(h)
	out := s.logs(h, all)
	if len(out.entries) != 2 {
		s.Fatalf("%d entries, want 2", len(out.entries))
	}
	since := out.entries[0].Time.Add(300 * time.Millisecond)
	if got := s.logs(h, drivers.LogOptions{Tail: -1, Since: since}).stdout.String(); got != "done\n" {
		s.Errorf("since the second line: %q, want done", got)
	}
	if got := s.logs(h, drivers.LogOptions{Tail: -1, Since: time.Now().Add(time.Hour)}).stdout.String(); got != "" {
		s.Errorf("since the future: %q, want nothing", got)
	}
}

// testLogFollow follows one log across two runs until the workload is removed.
func testLogFollow(s *suite) {
	h := s.create(s.spec(Workload{Kind: Ticks}))
	f := s.follow(h)
	s.startAgain(h)
	f.until("the third tick", func(out string) bool { return strings.Contains(out, "tick 3\n") })
	s.stop(h, drivers.StopOptions{})
	s.startAgain(h)
	f.until("the third tick of the second run", func(out string) bool { return strings.Count(out, "tick 3\n") == 2 })
	s.stop(h, drivers.StopOptions{})
	s.remove(h)
	if err := f.end(); err != nil {
		s.Errorf("Logs with Follow after Remove: %v, want nil", err)
	}
}

func testLogFollowEnds(s *suite) {
	h := s.ready(s.spec(Workload{Kind: Wait}))
	f := s.follow(h)
	f.until("ready", func(out string) bool { return out == "ready\n" })
	f.cancel()
	if err := f.end(); !errors.Is(err, context.Canceled) {
		s.Errorf("Logs with Follow, cancelled: %v, want context.Canceled", err)
	}

	h = s.start(s.spec(Workload{Kind: Lines, N: 10}))
	s.wait(h)
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	out := new(output)
	if err := s.d.Logs(ctx, h, drivers.LogOptions{Follow: true, Tail: 2}, out.add); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("Logs with Follow of an ended workload: %v, want to go on until the context ends", err)
	}
	if got := out.stdout.String(); got != "line 9\nline 10\n" {
		s.Errorf("followed with tail 2: %q", got)
	}
}

func testLogSinkError(s *suite) {
	h := s.start(s.spec(Workload{Kind: Ticks}))
	s.waitOutput(h, "tick 1\n")
	enough := errors.New("enough")
	for _, follow := range []bool{false, true} {
		calls := 0
		err := s.d.Logs(s.ctx, h, drivers.LogOptions{Follow: follow, Tail: -1}, func(drivers.LogEntry) error { calls++; return enough })
		if !errors.Is(err, enough) || calls != 1 {
			s.Errorf("follow %v: Logs returned %v after %d calls of a sink that fails", follow, err, calls)
		}
	}
}
