package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// fell ends everything and looks for what should not be there.
func (tr *Tree) fell() {
	if tr.client != nil {
		tr.uproot()
		tr.client.Close()
	}
	for _, n := range tr.nodes {
		n.Stop()
	}
	for _, c := range tr.clusters {
		c.Stop()
	}
	if tr.Root != nil {
		tr.Root.Stop()
	}
	tr.leftovers()
	tr.faults()
	for _, f := range tr.onFelled {
		if err := f(); err != nil {
			tr.t.Errorf("clean up: %v", err)
		}
	}
	if os.Getenv("EDGEIO_E2E_KEEP") != "" {
		tr.t.Logf("kept: %s", tr.Dir)
		return
	}
	if err := os.RemoveAll(tr.Dir); err != nil {
		tr.t.Errorf("clean up: %v", err)
	}
}

// uproot terminates all jobs, once all programs that were ever started run
// again.
func (tr *Tree) uproot() {
	for _, p := range tr.all() {
		if p.cmd != nil && !p.Running() {
			p.Start()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), awaitTimeout)
	defer cancel()
	err := await(awaitTimeout, func() error {
		jobs, err := tr.client.Jobs(ctx, api.JobQuery{})
		if err != nil {
			return err
		}
		left := 0
		for _, j := range jobs {
			for _, in := range j.Instances {
				if in.State != job.Terminated {
					left++
				}
			}
			if j.Desired == api.DesiredTerminated {
				continue
			}
			if _, err := tr.client.Terminate(ctx, j.ID); err != nil {
				return err
			}
		}
		if left > 0 {
			return fmt.Errorf("%d jobs are left", left)
		}
		return nil
	})
	if err != nil {
		tr.t.Errorf("terminate all jobs: %v", err)
	}
}

// all returns the tree's processes from the root to the leaves.
func (tr *Tree) all() []*Process {
	ps := []*Process{tr.Root.Process}
	for _, c := range tr.clusters {
		ps = append(ps, c.Process)
	}
	for _, n := range tr.nodes {
		ps = append(ps, n.Process)
	}
	return ps
}

// leftovers complains about processes that are left, and ends them.
func (tr *Tree) leftovers() {
	// A shim that has done its work needs a moment to end.
	err := await(5*time.Second, func() error {
		if left := processesOf(tr.Dir); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
	if err == nil {
		return
	}
	tr.t.Errorf("processes are left: %v", err)
	for pid := range processesOf(tr.Dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// faults reports data races and panics of the programs, and for a test that
// has failed, what they have logged.
func (tr *Tree) faults() {
	races, _ := filepath.Glob(tr.path("race.*"))
	for _, f := range races {
		b, _ := os.ReadFile(f)
		tr.t.Errorf("data race:\n%s", b)
	}
	for _, p := range tr.all() {
		if strings.Contains(p.out.String(), "\ngoroutine ") {
			tr.t.Errorf("%s panicked", p.Name)
		}
	}
	if !tr.t.Failed() {
		return
	}
	for _, p := range tr.all() {
		tr.t.Logf("--- output of %s:\n%s", p.Name, tail(p.out.String(), logLines))
	}
}

// logLines is how much of each log a failed test shows.
const logLines = 60

func tail(text string, lines int) string {
	l := strings.Split(text, "\n")
	return strings.Join(l[max(0, len(l)-lines):], "\n")
}
