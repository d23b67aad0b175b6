package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/edgeio/edgeio/drivers"
)

func frame(stream byte, payload string) []byte {
	b := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], uint32(len(payload)))
	return append(b, payload...)
}

func TestFrameReader(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 60, time.UTC)
	stamp := at.Format(time.RFC3339Nano)
	cases := []struct {
		name string
		in   []byte
		want string // of all records
		err  error  // nil: any but io.EOF
		ok   bool
	}{
		{"empty", nil, "", io.EOF, true},
		{"two streams", append(frame(1, stamp+" a\n"), frame(2, stamp+" b")...), "stdout:a\nstderr:b", io.EOF, true},
		{"empty record", frame(1, stamp+" "), "stdout:", io.EOF, true},
		{"bytes", frame(1, stamp+" \x00\xff \n"), "stdout:\x00\xff \n", io.EOF, true},
		{"cut header", []byte{1, 0, 0}, "", io.ErrUnexpectedEOF, false},
		{"cut payload", frame(1, stamp+" abc")[:20], "", io.ErrUnexpectedEOF, false},
		{"no payload", []byte{1, 0, 0, 0, 0, 0, 0, 9}, "", io.ErrUnexpectedEOF, false},
		{"no time", frame(1, "abc"), "", nil, false},
		{"bad time", frame(1, "yesterday abc"), "", nil, false},
		{"unknown stream", frame(9, stamp+" a"), "", nil, false},
		{"daemon's error", frame(3, "disk on fire"), "", nil, false},
		{"huge", []byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, "", nil, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := frameReader{r: bytes.NewReader(c.in)}
			var got string
			var err error
			for {
				var e drivers.LogEntry
				if e, err = r.next(); err != nil {
					break
				}
				if !e.Time.Equal(at) {
					t.Errorf("time %v, want %v", e.Time, at)
				}
				got += string(e.Stream) + ":" + string(e.Data)
			}
			if got != c.want {
				t.Errorf("records %q, want %q", got, c.want)
			}
			if c.err != nil && !errors.Is(err, c.err) || errors.Is(err, io.EOF) != c.ok {
				t.Errorf("ends with %v", err)
			}
		})
	}
}

func FuzzFrameReader(f *testing.F) {
	stamp := time.Unix(0, 1).UTC().Format(time.RFC3339Nano)
	f.Add(append(frame(1, stamp+" out\n"), frame(2, stamp+" err")...))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := frameReader{r: bytes.NewReader(in)}
		total := 0
		for {
			e, err := r.next()
			if err != nil {
				return
			}
			if total += len(e.Data); total > len(in) {
				t.Fatal("more came out than went in")
			}
		}
	})
}

// TestLogPositionResume breaks the stream anywhere, any number of times, and
// wants every record once, in order.
func TestLogPositionResume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := time.Unix(1_500_000_000, 0)
		var log []drivers.LogEntry
		at := begin
		for i := range rapid.IntRange(0, 40).Draw(t, "records") {
			at = at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "gap")) * 700 * time.Millisecond)
			stream := rapid.SampledFrom([]drivers.Stream{drivers.Stdout, drivers.Stderr}).Draw(t, "stream")
			log = append(log, drivers.LogEntry{Time: at, Stream: stream, Data: []byte{byte(i)}})
		}
		pos := newLogPosition(drivers.LogOptions{Follow: true, Tail: -1}, begin)
		var got []byte
		for end := 0; ; {
			opts := pos.next()
			for _, e := range log[:end] {
				if opts.Since != "" && eventTime(e.Time) < opts.Since { // ten digits both
					continue
				}
				if pos.accept(e) {
					got = append(got, e.Data...)
				}
			}
			if end == len(log) {
				break
			}
			end = rapid.IntRange(end, len(log)).Draw(t, "break")
		}
		var want []byte
		for _, e := range log {
			want = append(want, e.Data...)
		}
		if d := cmp.Diff(want, got); d != "" && len(want)+len(got) > 0 {
			t.Fatalf("records (-want +got):\n%s", d)
		}
	})
}

func TestLogPositionTail(t *testing.T) {
	begin := time.Unix(1000, 0)
	entry := func(sec int, stream drivers.Stream) drivers.LogEntry {
		return drivers.LogEntry{Time: begin.Add(time.Duration(sec) * time.Second), Stream: stream}
	}
	pos := newLogPosition(drivers.LogOptions{Follow: true, Tail: 1}, begin.Add(time.Minute))
	if o := pos.next(); o.Tail != "1" || o.Since != "" {
		t.Errorf("first attempt asks for %+v", o)
	}
	if !pos.accept(entry(10, drivers.Stdout)) {
		t.Error("the tail is not passed on")
	}
	if o := pos.next(); o.Tail != "" || o.Since != eventTime(begin.Add(10*time.Second-logOverlap)) {
		t.Errorf("second attempt asks for %+v", o)
	}
	if pos.accept(entry(9, drivers.Stderr)) {
		t.Error("what was before the tail comes after a break")
	}
	if !pos.accept(entry(11, drivers.Stderr)) {
		t.Error("what came after the tail is lost")
	}

	since := newLogPosition(drivers.LogOptions{Tail: -1, Since: begin}, begin)
	if since.next(); since.accept(entry(0, drivers.Stdout)) || !since.accept(entry(1, drivers.Stdout)) {
		t.Error("Since is not taken as: only what is later")
	}
}
