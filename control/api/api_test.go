package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/edgeio/edgeio/proto/job"
)

func TestRollUp(t *testing.T) {
	for _, tt := range []struct {
		desired Desired
		states  []job.State
		want    job.State
	}{
		{DesiredRunning, nil, job.Requested},
		{DesiredTerminated, nil, job.Terminated},
		{DesiredRunning, []job.State{job.Running}, job.Running},
		{DesiredRunning, []job.State{job.Running, job.Running, job.Failed}, job.Failed},
		{DesiredRunning, []job.State{job.Running, job.ScheduledNode}, job.ScheduledNode},
		{DesiredRunning, []job.State{job.Running, job.Terminated}, job.Running},
		{DesiredRunning, []job.State{job.Completed, job.Running}, job.Running},
		{DesiredRunning, []job.State{job.NotDeployable, job.Dangling}, job.Dangling},
		{DesiredTerminated, []job.State{job.Terminated, job.Terminated}, job.Terminated},
	} {
		var l []Instance
		for _, s := range tt.states {
			l = append(l, Instance{State: s})
		}
		if got := RollUp(tt.desired, l); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.states, got, tt.want)
		}
	}
	for _, s := range job.States {
		if RollUp(DesiredRunning, []Instance{{State: s}}) != s {
			t.Errorf("one instance that is %s: the job is not", s)
		}
	}
}

func TestRollUpIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		states := rapid.SliceOfN(rapid.SampledFrom(job.States), 1, 6).Draw(t, "states")
		var a, b []Instance
		for i := range states {
			a = append(a, Instance{State: states[i]})
			b = append(b, Instance{State: states[len(states)-1-i]})
		}
		if x, y := RollUp(DesiredRunning, a), RollUp(DesiredRunning, b); x != y {
			t.Fatalf("%s and %s", x, y)
		}
	})
}

func TestResolve(t *testing.T) {
	type item struct {
		id, name string
		live     bool
	}
	items := []item{{"abc1", "web", false}, {"abc2", "web", true}, {"abd3", "db", false}, {"x", "abc1", false}, {"y", "old", false}, {"z", "old", false}}
	for _, tt := range []struct {
		ref, want string
		err       error
	}{
		{"abc1", "abc1", nil}, // an id is stronger than a name
		{"web", "abc2", nil},  // the one that lives
		{"db", "abd3", nil},
		{"abd", "abd3", nil},
		{"ab", "", ErrConflict},
		{"old", "", ErrConflict},
		{"nope", "", ErrNotFound},
		{"", "", ErrNotFound},
	} {
		got, err := Resolve("job", tt.ref, items, func(i item) (string, string) { return i.id, i.name }, func(i item) bool { return i.live })
		if got.id != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q, %v", tt.ref, got.id, err)
		}
	}
}

func TestProblemKeepsItsClass(t *testing.T) {
	for _, pt := range problemTypes {
		p := NewProblem(fmt.Errorf("%w: the thing", pt.class))
		if !errors.Is(p, pt.class) || p.Detail != "the thing" || p.Status != pt.status {
			t.Errorf("%v: %+v", pt.class, p)
		}
		if byStatus := (&Problem{Status: pt.status}); !errors.Is(byStatus, pt.class) {
			t.Errorf("status %d is not %v", pt.status, pt.class)
		}
	}
	for status, class := range map[int]error{http.StatusBadGateway: ErrUnavailable, http.StatusTeapot: ErrInvalid, 599: ErrInternal} {
		if !errors.Is(&Problem{Status: status}, class) {
			t.Errorf("status %d is not %v", status, class)
		}
	}
}

func TestReadSSE(t *testing.T) {
	const in = ": hi\n\nid: 1\ndata: a\ndata: b\n\r\nevent: problem\r\ndata:c\r\n\r\nevent: empty\n\ndata\n\ndata: not ended"
	var got []string
	if err := readSSE(strings.NewReader(in), func(e sseEvent) error {
		got = append(got, e.name+"|"+string(e.data))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"|a\nb", "problem|c", "|"}, got); d != "" {
		t.Error(d)
	}
	long := strings.NewReader("data: " + strings.Repeat("x", maxSSE+1) + "\n\n")
	if err := readSSE(long, func(sseEvent) error { return nil }); err == nil {
		t.Error("an event without bound was taken")
	}
	endless := io.LimitReader(repeat("data: x\n"), 3*maxSSE)
	if err := readSSE(endless, func(sseEvent) error { return nil }); err == nil {
		t.Error("an event of lines without bound was taken")
	}
}

// repeat is a reader without an end.
type repeat string

func (r repeat) Read(b []byte) (int, error) {
	n := 0
	for len(b)-n >= len(r) {
		n += copy(b[n:], r)
	}
	return n, nil
}

func FuzzReadSSE(f *testing.F) {
	f.Add([]byte(": c\n\nid: 1\ndata: {}\n\n"))
	f.Add([]byte("event: problem\r\ndata\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = readSSE(strings.NewReader(string(b)), func(e sseEvent) error {
			if e.data == nil || len(e.data) > len(b) {
				t.Errorf("%d bytes of %d", len(e.data), len(b))
			}
			return nil
		})
	})
}

func TestNew(t *testing.T) {
	for _, c := range []Config{
		{},
		{Addresses: []string{"http://x:1"}},
		{Addresses: []string{"https://"}},
		{Addresses: []string{"x:1"}, AuthorityPEM: []byte("nonsense")},
	} {
		if _, err := New(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := New(Config{Addresses: []string{"x:1", "https://y:2/"}}); err != nil {
		t.Error(err)
	}
}
