package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/google/go-cmp/cmp"
)

func testExitCode(s *suite) {
	for _, code := range []int{0, 1, 42, 255} {
		h := s.start(s.spec(Workload{Kind: Exit, N: code}))
		exit := s.wait(h)
		if exit.Code != code || exit.Lost || exit.OOMKilled || exit.At.IsZero() {
			s.Errorf("exit %+v, want code %d", exit, code)
		}
		if st := s.phase(h, drivers.PhaseExited); st.Exit.Code != code {
			s.Errorf("Status says exit %+v, want code %d", st.Exit, code)
		}
	}
}

func testWait(s *suite) {
	w, code, _ := s.patient()
	h := s.ready(s.spec(w))
	ctx, cancel := context.WithTimeout(s.ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := s.d.Wait(ctx, h); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("Wait beyond its context: %v, want context.DeadlineExceeded", err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if exit, err := s.d.Wait(s.ctx, h); err != nil || exit.Code != code {
				s.Errorf("Wait: %+v, %v; want code %d", exit, err, code)
			}
		})
	}
	s.stop(h, drivers.StopOptions{Grace: patience})
	wg.Wait()
	if exit := s.wait(h); exit.Code != code {
		s.Errorf("Wait after the end: %+v, want code %d", exit, code)
	}
}

func testStartAgain(s *suite) {
	h := s.start(s.spec(Workload{Kind: Lines, N: 2}))
	first := s.wait(h)
	s.startAgain(h)
	second := s.wait(h)
	if !second.At.After(first.At) {
		s.Errorf("second run ended at %v, not after the first at %v", second.At, first.At)
	}
	if got, want := s.stdout(h), strings.Repeat("line 1\nline 2\n", 2); got != want {
		s.Errorf("output of two runs is %q, want %q", got, want)
	}

	w, _, _ := s.patient()
	again := s.ready(s.spec(w))
	s.stop(again, drivers.StopOptions{Grace: patience})
	s.startAgain(again)
	s.phase(again, drivers.PhaseRunning)
	s.stop(again, drivers.StopOptions{})
	if st := s.phase(again, drivers.PhaseExited); st.Exit.Code != 137 {
		s.Errorf("exit %+v of the second run, want code 137", st.Exit)
	}
}

func testStopGrace(s *suite) {
	h := s.ready(s.spec(Workload{Kind: WaitPolite}))
	begin := time.Now()
	s.stop(h, drivers.StopOptions{Grace: patience})
	if took := time.Since(begin); took > patience/2 {
		s.Errorf("Stop took %v for a workload that obeys", took)
	}
	if st := s.phase(h, drivers.PhaseExited); st.Exit.Code != 7 {
		s.Errorf("exit %+v, want code 7", st.Exit)
	}
	if out := s.stdout(h); out != "ready\nbye\n" {
		s.Errorf("output %q, want the last words too", out)
	}
}

func testStopForce(s *suite) {
	for _, grace := range []time.Duration{0, 500 * time.Millisecond} {
		h := s.ready(s.spec(Workload{Kind: WaitStubborn}))
		begin := time.Now()
		s.stop(h, drivers.StopOptions{Grace: grace})
		if took := time.Since(begin); took < grace || took > grace+15*time.Second {
			s.Errorf("Stop with grace %v took %v", grace, took)
		}
		if st := s.phase(h, drivers.PhaseExited); st.Exit.Code != 137 || st.Exit.OOMKilled || st.Exit.Lost {
			s.Errorf("exit %+v, want code 137", st.Exit)
		}
	}
}

func testStopSignal(s *suite) {
	h := s.ready(s.spec(Workload{Kind: WaitPolite}))
	err := s.d.Stop(s.ctx, h, drivers.StopOptions{Signal: "SIGNOSUCH", Grace: time.Second})
	if !errors.Is(err, drivers.ErrInvalid) {
		s.Errorf("Stop with an unknown signal: %v, want ErrInvalid", err)
	}
	s.phase(h, drivers.PhaseRunning)
	s.stop(h, drivers.StopOptions{Signal: "SIGUSR1", Grace: patience})
	if st := s.phase(h, drivers.PhaseExited); st.Exit.Code != 8 {
		s.Errorf("exit %+v, want code 8", st.Exit)
	}
}

// marked returns the processes whose command line has marker. Where workloads
// are not processes of this host it finds none.
func marked(marker string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(marker)) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

func (s *suite) wantNone(marker string) {
	s.Helper()
	if left := marked(marker); len(left) > 0 {
		s.Errorf("still running: %q", left)
	}
}

func (s *suite) marker() string {
	return fmt.Sprintf("edgeio-marker-%d-%d", os.Getpid(), lastID.Add(1))
}

func testStopTree(s *suite) {
	marker := s.marker()
	h := s.ready(s.spec(Workload{Kind: Tree, Marker: marker}))
	s.stop(h, drivers.StopOptions{Grace: patience})
	s.wantNone(marker)
	if st := s.phase(h, drivers.PhaseExited); st.Exit.Code != 143 {
		s.Errorf("exit %+v, want code 143", st.Exit)
	}
}

func testExitTree(s *suite) {
	marker := s.marker()
	h := s.start(s.spec(Workload{Kind: TreeExit, Marker: marker}))
	if exit := s.wait(h); exit.Code != 3 {
		s.Errorf("exit %+v, want code 3", exit)
	}
	s.wantNone(marker)
}

func testEnvArgs(s *suite) {
	w := Workload{
		Kind: Arguments,
		Args: []string{"", "plain", `"double" 'single' \back`, "two\nlines", "grüße ✓", "$HOME `id` *", "-n", " blank "},
		Env: map[string]string{
			"A_EMPTY": "", "B_QUOTES": `'"\`, "C_LINES": "one\ntwo", "D_UTF8": "Zürich ⚡", "E_EQUALS": "a=b=c", "F_DOLLAR": "${HOME} $(id)", "G_LATIN1": "\xe4\xff",
		},
	}
	spec := s.spec(w)
	if _, err := s.d.Create(s.ctx, spec, nil); errors.Is(err, drivers.ErrUnsupported) {
		// A runtime behind an API of texts cannot pass on other bytes: it must say so and not change them.
		delete(w.Env, "G_LATIN1")
		spec = s.spec(w)
	}
	h := s.start(spec)
	s.wait(h)
	var want strings.Builder
	for _, a := range w.Args {
		want.WriteString(a + "\n--\n")
	}
	for _, name := range slices.Sorted(maps.Keys(w.Env)) {
		want.WriteString(w.Env[name] + "\n--\n")
	}
	if d := cmp.Diff(want.String(), s.stdout(h)); d != "" {
		s.Errorf("arguments and environment (-want +got):\n%s", d)
	}
}

func testWorkdir(s *suite) {
	spec := s.spec(Workload{Kind: Workdir})
	spec.Workdir = "/tmp"
	h := s.start(spec)
	s.wait(h)
	if got := s.stdout(h); got != "/tmp\n" {
		s.Errorf("work directory %q, want /tmp", got)
	}
}

func testUser(s *suite) {
	s.need(drivers.FeatureUser)
	for user, want := range map[string]string{"65534:65534": "65534:65534\n", "4321:1234": "4321:1234\n", "0:0": "0:0\n"} {
		spec := s.spec(Workload{Kind: UserID})
		spec.User = user
		h := s.start(spec)
		s.wait(h)
		if got := s.stdout(h); got != want {
			s.Errorf("as user %s: id %q, want %q", user, got, want)
		}
	}
}

func freePort(s *suite) uint16 {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func testPorts(s *suite) {
	s.need(drivers.FeaturePorts)
	inside := freePort(s)
	spec := s.spec(Workload{Kind: Listen, N: int(inside)})
	spec.Ports = []drivers.Port{{Name: "web", Protocol: "tcp", Port: inside}}
	h := s.ready(spec)
	ports := s.status(h).Ports
	if len(ports) != 1 || ports[0].HostPort == 0 || ports[0].Port != inside || ports[0].Name != "web" {
		s.Fatalf("Status has ports %+v, want web with a host port", ports)
	}
	var answer []byte
	deadline := time.Now().Add(patience)
	for string(answer) != "hello\n" && time.Now().Before(deadline) {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0].HostPort)))
		if err != nil {
			time.Sleep(50 * time.Millisecond) // "ready" is said just before it listens
			continue
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		answer, _ = io.ReadAll(c)
		c.Close()
	}
	if string(answer) != "hello\n" {
		s.Errorf("host port %d answers %q, want hello", ports[0].HostPort, answer)
	}
}
