package external

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
)

func through[T any](t interface{ Fatal(...any) }, v T) T {
	b, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(b, []byte("\n")) != 1 {
		t.Fatal("a frame is not one line")
	}
	var back T
	if err := readFrame(bufio.NewReader(bytes.NewReader(b)), &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// anyText is a text of any bytes.
var anyText = rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) })

func TestSpecTravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(anyText, 0, 4)
		env := rapid.MapOfN(anyText, anyText, 0, 4)
		limit := rapid.Int64()
		s := drivers.Spec{
			ID: anyText.Draw(t, "id"), Generation: rapid.Uint64().Draw(t, "generation"), Name: anyText.Draw(t, "name"),
			Image:   drivers.Image{Reference: anyText.Draw(t, "ref"), Path: anyText.Draw(t, "path"), SHA256: "00", Arch: "arm64"},
			Command: texts.Draw(t, "command"), Args: texts.Draw(t, "args"), Env: env.Draw(t, "env"), Labels: env.Draw(t, "labels"),
			Workdir: anyText.Draw(t, "workdir"), User: anyText.Draw(t, "user"),
			Resources: drivers.Resources{CPUMillis: limit.Draw(t, "cpu"), MemoryBytes: limit.Draw(t, "memory"), PIDs: limit.Draw(t, "pids")},
			Ports:     []drivers.Port{{Name: "web", Protocol: "tcp", Port: rapid.Uint16().Draw(t, "port"), HostPort: 1}},
		}
		back := through(t, request{Call: callCreate, Spec: toSpec(s)}).Spec.spec()
		if d := cmp.Diff(s, back, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}

func TestRestTravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		status := drivers.Status{
			Phase: drivers.PhaseExited, StartedAt: at, PID: rapid.Int().Draw(t, "pid"), Address: "10.0.0.1",
			Exit:  drivers.Exit{Code: rapid.Int().Draw(t, "code"), OOMKilled: rapid.Bool().Draw(t, "oom"), Lost: rapid.Bool().Draw(t, "lost"), Reason: "why", At: at},
			Ports: []drivers.Port{{Protocol: "udp", Port: 1, HostPort: 2}},
		}
		stats := drivers.Stats{At: at, CPUTime: time.Duration(rapid.Int64().Draw(t, "cpu")), MemoryBytes: 1, PIDs: 2, NetworkRxBytes: 3, NetworkTxBytes: 4}
		handle := drivers.Handle{Driver: "d", Version: 1, ID: "i", Generation: rapid.Uint64().Draw(t, "generation"), Data: json.RawMessage(`{"a":[1,"ü"]}`)}
		out := output{
			Log:    &logEntry{at, drivers.Stderr, rapid.SliceOf(rapid.Byte()).Draw(t, "data")},
			Result: &result{Status: &status, Stats: &stats, Handle: &handle},
		}
		if d := cmp.Diff(out, through(t, out), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b text) bool { return a == b })); d != "" {
			t.Fatal(d)
		}
	})
}

func TestErrorTravels(t *testing.T) {
	targets := []error{
		drivers.ErrInvalid, drivers.ErrNotFound, drivers.ErrConflict, drivers.ErrUnavailable, drivers.ErrImage, drivers.ErrDenied,
		drivers.ErrExhausted, drivers.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
	}
	errs := []error{
		errors.New("plain"),
		drivers.Errorf(drivers.ErrUnavailable, "stop", "a", "%w", context.DeadlineExceeded),
		drivers.Errorf(drivers.ErrConflict, "list", "", "port: %w", drivers.ErrExhausted),
		fmt.Errorf("around: %w", drivers.Errorf(drivers.ErrImage, "create", "a", "no such")),
		errors.Join(drivers.ErrDenied, context.Canceled),
		&drivers.Error{Class: drivers.ErrInvalid},
	}
	for _, class := range targets[:8] {
		errs = append(errs, drivers.Errorf(class, "start", "a", "why"))
	}
	for _, err := range errs {
		if e, ok := err.(*drivers.Error); ok && e.Err == nil {
			e.Err = io.EOF
		}
		back := through(t, output{Error: toWire(err)}).Error.error()
		if back.Error() != err.Error() {
			t.Errorf("%q came back as %q", err, back)
		}
		for _, target := range targets {
			if errors.Is(back, target) != errors.Is(err, target) {
				t.Errorf("%q: errors.Is(%v) is %v on the other side", err, target, errors.Is(back, target))
			}
		}
		var was, is *drivers.Error
		if w, ok := err.(*drivers.Error); ok && w.Op != "" {
			was = w
			if !errors.As(back, &is) || is.Class != was.Class || is.Op != was.Op || is.ID != was.ID {
				t.Errorf("%#v came back as %#v", was, back)
			}
		}
	}
}

func TestUnknownIsLeftOut(t *testing.T) {
	var f output
	in := `{"result":{"news":1,"code":3},"more":{}}` + "\n"
	if err := readFrame(bufio.NewReader(strings.NewReader(in)), &f); err != nil || f.Result == nil || *f.Result.Code != 3 {
		t.Errorf("%+v, %v", f, err)
	}
	e := (&wireError{Classes: []string{"haunted", "conflict"}, Message: "boo"}).error()
	if !errors.Is(e, drivers.ErrConflict) {
		t.Errorf("%v lost the class that is known", e)
	}
}

func TestFrameLimits(t *testing.T) {
	huge := strings.NewReader(`{"call":"` + strings.Repeat("x", maxFrame) + `"}` + "\n")
	if err := readFrame(bufio.NewReader(huge), &request{}); !errors.Is(err, errMalformed) {
		t.Errorf("a frame without end: %v", err)
	}
	if _, err := encode(request{Call: strings.Repeat("x", maxFrame)}); !errors.Is(err, errTooLarge) {
		t.Errorf("sending one: %v", err)
	}
	for in, want := range map[string]error{"": io.EOF, `{"call":"li`: io.ErrUnexpectedEOF, "\n": errMalformed, "[]\n": errMalformed, "{}{}\n": errMalformed} {
		if err := readFrame(bufio.NewReader(strings.NewReader(in)), &request{}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

// FuzzRequest is what a driver program makes of anything that may come.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"call":"create","spec":{"id":"a","generation":1,"image":{},"env":[{"name":"A","value":{"base64":"5A=="}}],"resources":{}}}` + "\n"))
	f.Add([]byte(`{"call":"exec","handle":{"driver":"d","version":1,"id":"a","generation":1},"exec":{"command":["sh"]}}` + "\n"))
	f.Add([]byte(`{"call":"logs","timeout_ns":5,"logs":{"follow":true,"tail":-1,"since":"2026-01-02T03:04:05.000000006Z"}}` + "\n"))
	f.Add([]byte(`{"call":"hello","protocol":1}` + "\n" + `{"cancel":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var req request
		if readFrame(bufio.NewReader(bytes.NewReader(data)), &req) != nil {
			return
		}
		if d := cmp.Diff(req, through(t, req), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b text) bool { return a == b })); d != "" && req.Spec != nil {
			if cmp.Diff(req.Spec.spec(), through(t, req).Spec.spec(), cmpopts.EquateEmpty()) != "" {
				t.Error(d)
			}
		}
		var in input
		_ = readFrame(bufio.NewReader(bytes.NewReader(data)), &in)
	})
}

// FuzzServer gives a driver program anything, and hangs up.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		`{"call":"create","spec":{"id":"a","generation":1,"image":{},"resources":{}}}`,
		`{"call":"wait","handle":{"driver":"fake","version":1,"id":"run","generation":1}}`,
		`{"call":"logs","handle":{"driver":"fake","version":1,"id":"run","generation":1},"logs":{"follow":true,"tail":0}}`,
		`{"call":"exec","handle":null,"exec":{"command":[]}}` + "\n" + `{"stdin":"eA=="}` + "\n" + `{"stdin_end":true}` + "\n" + `{"size":{}}`,
		`{"call":"watch"}` + "\n" + `{"cancel":true}`,
	} {
		f.Add([]byte(seed + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := fake.New(fake.NewHost(nil))
		h, err := d.Create(t.Context(), drivers.Spec{ID: "run", Generation: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Start(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		agent, program := net.Pipe()
		var talk sync.WaitGroup
		talk.Go(func() { _, _ = io.Copy(io.Discard, agent) })
		talk.Go(func() {
			_, _ = agent.Write(data)
			_ = agent.Close()
		})
		s := &server{driver: d, name: func() hello { return hello{} }}
		s.answer(t.Context(), program)
		talk.Wait()
	})
}

// FuzzOutput is what the agent makes of a driver program gone wild.
func FuzzOutput(f *testing.F) {
	f.Add([]byte(`{"result":{"status":{"phase":"running","started_at":"2026-01-02T03:04:05Z","pid":7}}}` + "\n"))
	f.Add([]byte(`{"error":{"classes":["not_found","canceled"],"op":"start","id":"a","message":"no such workload"}}` + "\n"))
	f.Add([]byte(`{"log":{"time":"2026-01-02T03:04:05Z","stream":"stdout","data":"aGVsbG8K"}}` + "\n" + `{"result":{}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			var o output
			if readFrame(r, &o) != nil {
				return
			}
			if o.Error != nil && o.Error.error().Error() == "" && o.Error.Message != "" {
				t.Error("an error lost its words")
			}
		}
	})
}

// TestPlace divides and repeats a log at random, as connections that are lost
// do, and wants each byte once.
func TestPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		began := time.Unix(1000, 0)
		now := began
		var log []drivers.LogEntry
		want := map[drivers.Stream]string{}
		for i := range rapid.IntRange(1, 30).Draw(t, "entries") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "step")) * time.Second)
			stream := rapid.SampledFrom([]drivers.Stream{drivers.Stdout, drivers.Stderr}).Draw(t, "stream")
			text := fmt.Sprintf("entry %d;", i)
			log = append(log, drivers.LogEntry{Time: now, Stream: stream, Data: []byte(text)})
			want[stream] += text
		}
		p := newPlace(drivers.LogOptions{Follow: true, Tail: -1}, began)
		got := map[drivers.Stream]string{}
		for last := false; !last; p.resume() {
			last = rapid.Bool().Draw(t, "last")
			stop := len(log)
			if !last {
				stop = rapid.IntRange(0, len(log)).Draw(t, "stop")
			}
			for _, e := range log[:stop] {
				if !e.Time.After(p.options().Since) {
					continue
				}
				cut := rapid.IntRange(0, len(e.Data)).Draw(t, "cut")
				for _, piece := range [][]byte{e.Data[:cut], e.Data[cut:]} {
					if out, ok := p.pass(drivers.LogEntry{Time: e.Time, Stream: e.Stream, Data: piece}); ok {
						got[e.Stream] += string(out.Data)
					}
				}
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}
