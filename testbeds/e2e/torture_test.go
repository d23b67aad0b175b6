package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// Sizes of the torture test.
const (
	tortureClients = 4
	tortureLive    = 12 // jobs of one client that are to run at a time
)

// wish is what a client wants of one of its jobs.
type wish struct {
	name, key string
	id        string // once the deployment is acknowledged
	gone      bool   // terminated
}

// wisher is a client that deploys and terminates, come what may.
type wisher struct {
	number int
	api    *api.Client
	file   func(name string) string
	random *rand.Rand
	wishes []*wish
	err    error // what should not have happened
}

// run acts until ctx ends, and then sees to it that the last wish is known.
func (w *wisher) run(ctx context.Context) {
	for ctx.Err() == nil && w.err == nil {
		var live []*wish
		for _, x := range w.wishes {
			if !x.gone {
				live = append(live, x)
			}
		}
		if len(live) > 0 && (len(live) >= tortureLive || w.random.IntN(10) < 4) {
			w.terminate(live[w.random.IntN(len(live))])
		} else {
			w.deploy()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(w.random.IntN(80)) * time.Millisecond):
		}
	}
}

func (w *wisher) deploy() {
	x := &wish{name: fmt.Sprintf("job-%d-%d", w.number, len(w.wishes))}
	x.key = x.name
	w.insist("deploy "+x.name, func(ctx context.Context) error {
		j, err := w.api.Deploy(ctx, []byte(w.file(x.name)), x.key)
		x.id = j.ID
		return err
	})
	w.wishes = append(w.wishes, x)
}

func (w *wisher) terminate(x *wish) {
	w.insist("terminate "+x.name, func(ctx context.Context) error {
		_, err := w.api.Terminate(ctx, x.id)
		return err
	})
	x.gone = true
}

// insist repeats a request until it is acknowledged; that the root is away is
// the one excuse.
func (w *wisher) insist(what string, request func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*awaitTimeout)
	defer cancel()
	err := await(2*awaitTimeout, func() error {
		err := request(ctx)
		if err != nil && !errors.Is(err, api.ErrUnavailable) && ctx.Err() == nil {
			w.err = errors.Join(w.err, fmt.Errorf("%s: %w", what, err))
			return nil
		}
		return err
	})
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("%s was never acknowledged: %w", what, err))
	}
}

// tortureTime is how long programs are killed.
func tortureTime(t *testing.T) time.Duration {
	text := os.Getenv("EDGEIO_TORTURE")
	if text == "" {
		return 15 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("EDGEIO_TORTURE: %v", err)
	}
	return d
}

func tortureSeed(t *testing.T) uint64 {
	text := os.Getenv("EDGEIO_TORTURE_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("EDGEIO_TORTURE_SEED: %v", err)
	}
	return seed
}

// Root, cluster and agent are killed at random while clients deploy and
// terminate. In the end what is wanted runs, once, and nothing else does.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	t.Parallel()
	tr, c, n := garching(t)
	seed := tortureSeed(t)
	t.Logf("repeat with EDGEIO_TORTURE_SEED=%d", seed)
	file := func(name string) string {
		return tr.marked(name, "exec sleep 100000", "env: {E2E_JOB: "+name+"}", "stop: {grace: 2s}")
	}
	ctx, cancel := context.WithTimeout(t.Context(), tortureTime(t))
	defer cancel()
	var clients []*wisher
	var working sync.WaitGroup
	for i := range tortureClients {
		w := &wisher{number: i, api: tr.API(), file: file, random: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		clients = append(clients, w)
		working.Go(func() { w.run(ctx) })
	}
	kills := torment(ctx, rand.New(rand.NewPCG(seed, 0)), tr.Root.Process, c.Process, n.Process)
	working.Wait()
	tr.AwaitCluster("bavaria", true)
	tr.AwaitNode(n)

	deployed, terminated := 0, 0
	for _, w := range clients {
		if w.err != nil {
			t.Error(w.err)
		}
		for _, x := range w.wishes {
			if deployed++; x.gone {
				terminated++
			}
		}
	}
	t.Logf("%d kills, %d jobs deployed, %d of them terminated", kills, deployed, terminated)
	tr.AwaitFor(2*awaitTimeout, "what is wanted is so", func() error { return tr.settled(clients) })
	tr.checkRuns(t, clients)
}

// torment kills programs and starts them again until ctx ends, then has all of
// them run. It returns the number of kills.
func torment(ctx context.Context, random *rand.Rand, victims ...*Process) (kills int) {
	for ctx.Err() == nil {
		for _, i := range random.Perm(len(victims))[:1+random.IntN(len(victims))] {
			victims[i].Kill()
			kills++
		}
		pause(ctx, time.Duration(random.IntN(300))*time.Millisecond)
		for _, v := range victims {
			if !v.Running() {
				v.Start()
			}
		}
		// At times too short for the programs to find each other.
		pause(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
	}
	return kills
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// settled returns nil once the jobs that the API shows, and the processes that
// there are, are those that the clients want.
func (tr *Tree) settled(clients []*wisher) error {
	all, err := tr.API().Jobs(tr.t.Context(), api.JobQuery{})
	if err != nil {
		return err
	}
	byName := map[string][]api.Job{}
	for _, j := range all {
		byName[j.Name] = append(byName[j.Name], j)
	}
	alive := tr.aliveByJob()
	for _, w := range clients {
		for _, x := range w.wishes {
			found := byName[x.name]
			if len(found) != 1 || found[0].ID != x.id {
				return fmt.Errorf("%s was acknowledged as %s, but there is %+v", x.name, x.id, found)
			}
			state, processes := job.Running, 1
			if x.gone {
				state, processes = job.Terminated, 0
			}
			if found[0].State != state || len(alive[x.name]) != processes {
				return fmt.Errorf("%s should be %s, but it is %s with processes %v: %+v", x.name, state, found[0].State, alive[x.name], found[0].Instances)
			}
			if !x.gone && len(tr.runs(x.name)) == 0 {
				return fmt.Errorf("%s has not noted its run yet", x.name)
			}
			delete(byName, x.name)
			delete(alive, x.name)
		}
	}
	if len(byName) > 0 || len(alive) > 0 {
		return fmt.Errorf("nobody asked for the jobs %v and processes %v", byName, alive)
	}
	return nil
}

// checkRuns checks the histories, and that no job was ever started twice: the
// workloads were not killed, so there was no reason to.
func (tr *Tree) checkRuns(t *testing.T, clients []*wisher) {
	t.Helper()
	for _, w := range clients {
		for _, x := range w.wishes {
			j := tr.Job(x.id)
			legal(t, j)
			runs := tr.runs(x.name)
			if len(runs) > 1 || len(runs) == 0 && !x.gone || j.Instances[0].Restarts > 0 {
				t.Errorf("%s has the runs %v and %d restarts: %+v", x.name, runs, j.Instances[0].Restarts, j.Instances[0].History)
			}
		}
	}
}

// aliveByJob returns the PIDs of the tree's workloads by the variable E2E_JOB
// in their environment.
func (tr *Tree) aliveByJob() map[string][]int {
	alive := map[string][]int{}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte("="+tr.Dir+"/")) {
			continue
		}
		for v := range strings.SplitSeq(string(b), "\x00") {
			if name, ok := strings.CutPrefix(v, "E2E_JOB="); ok {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				alive[name] = append(alive[name], pid)
			}
		}
	}
	return alive
}
