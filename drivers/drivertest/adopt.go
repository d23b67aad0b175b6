package drivertest

import (
	"strings"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

func testAdoptRunning(s *suite) {
	w, code, last := s.patient()
	h := s.ready(s.spec(w))
	before := s.status(h)
	s.reopen()
	s.wantList(h)
	if st := s.phase(h, drivers.PhaseRunning); st.PID != before.PID || !st.StartedAt.Equal(before.StartedAt) {
		s.Errorf("after a restart of the agent %+v, before %+v", st, before)
	}
	s.startAgain(h)
	if st := s.phase(h, drivers.PhaseRunning); st.PID != before.PID {
		s.Errorf("Start after a restart of the agent started it again: pid %d, was %d", st.PID, before.PID)
	}
	f := s.follow(h)
	f.until("the output from before", func(out string) bool { return out == "ready\n" })

	var wg sync.WaitGroup
	wg.Go(func() {
		if exit, err := s.d.Wait(s.ctx, h); err != nil || exit.Code != code {
			s.Errorf("Wait: %+v, %v; want code %d", exit, err, code)
		}
	})
	s.stop(h, drivers.StopOptions{Grace: patience})
	wg.Wait()
	f.until("the last words", func(out string) bool { return out == "ready\n"+last })
	s.remove(h)
	if err := f.end(); err != nil {
		s.Errorf("Logs with Follow after Remove: %v, want nil", err)
	}
}

// testAdoptEnded lets a workload end while no driver is there.
func testAdoptEnded(s *suite) {
	created := s.create(s.spec(Workload{Kind: Wait}))
	h := s.ready(s.spec(Workload{Kind: WaitShort, N: 1}))
	s.closeDriver()
	time.Sleep(1500 * time.Millisecond) // nobody is there who could be asked
	s.openDriver()
	s.wantList(created, h)
	s.phase(created, drivers.PhaseCreated)
	if exit := s.wait(h); exit.Code != 5 || exit.Lost {
		s.Errorf("exit %+v, want code 5", exit)
	}
	s.phase(h, drivers.PhaseExited)
	if out := s.stdout(h); !strings.HasSuffix(out, "ready\ndone\n") {
		s.Errorf("output %q, want that of the whole run", out)
	}
	s.startAgain(h)
	s.phase(h, drivers.PhaseRunning)
}

func testAdoptMany(s *suite) {
	var handles []drivers.Handle
	for range 10 {
		handles = append(handles, s.start(s.spec(Workload{Kind: Wait})))
	}
	s.reopen()
	s.wantList(handles...)
	for _, h := range handles {
		s.phase(h, drivers.PhaseRunning)
	}
	var wg sync.WaitGroup
	for _, h := range handles {
		wg.Go(func() {
			if err := s.d.Stop(s.ctx, h, drivers.StopOptions{}); err != nil {
				s.Errorf("Stop: %v", err)
			}
			if err := s.d.Remove(s.ctx, h); err != nil {
				s.Errorf("Remove: %v", err)
			}
		})
	}
	wg.Wait()
	s.wantList()
}
