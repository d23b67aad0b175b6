package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/proto/job"
)

// Targets, and how often things are done.
const (
	nativeJobs       = 50
	nativeTargetMS   = 25
	hundred          = 100
	hundredRounds    = 5
	hundredTargetMS  = 1000
	shimTargetMiB    = 3
	adoptionTargetMS = 500
)

// nativeFile is a job that does nothing, with a limit as real jobs have them. A
// small limit of CPU would be what is measured.
func nativeFile(name string) (string, error) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		return "", fmt.Errorf("find a program that does nothing: %w", err)
	}
	return fmt.Sprintf(`api_version: v0.1
job_name: %s
image: %s
image_runtime: native
args: ["3600"]
requirements: {memory: 16}
`, name, sleep), nil
}

// measureNative takes the time from the POST of a native job until the root
// shows it running, for one job after the other.
func measureNative(ctx context.Context, b *bench) (figures []figure, err error) {
	t, err := b.plant(ctx, nil)
	defer func() { err = errors.Join(err, t.fell(ctx)) }()
	if err != nil {
		return nil, err
	}
	took := make([]time.Duration, nativeJobs)
	for i := range took {
		name := fmt.Sprintf("native-%d", i)
		file, err := nativeFile(name)
		if err != nil {
			return nil, err
		}
		var id string
		if id, took[i], err = t.deployed(ctx, name, file); err != nil {
			return nil, err
		}
		if err := t.terminated(ctx, id, name); err != nil {
			return nil, err
		}
	}
	return []figure{median("native: POST to RUNNING at the root", took, nativeTargetMS)}, nil
}

// measureHundred starts a hundred native jobs at once, weighs their shims, and
// has a new agent find them after the old one was killed.
func measureHundred(ctx context.Context, b *bench) (figures []figure, err error) {
	t, err := b.plant(ctx, nil)
	defer func() { err = errors.Join(err, t.fell(ctx)) }()
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for round := range hundredRounds {
		if err := t.terminateAll(ctx); err != nil {
			return nil, err
		}
		files := map[string]string{}
		for i := range hundred {
			name := fmt.Sprintf("hundred-%d-%d", round, i)
			if files[name], err = nativeFile(name); err != nil {
				return nil, err
			}
		}
		d, err := t.deployAll(ctx, files)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	figures = append(figures, median("native: 100 jobs posted at once, all RUNNING", took, hundredTargetMS).
		noted("%d rounds, the best took %s ms", len(took), number(milliseconds(percentile(took, 0)))))

	f, err := shimMemory(t)
	if err != nil {
		return figures, err
	}
	figures = append(figures, f)
	adoption, err := measureAdoption(ctx, t)
	return append(figures, adoption...), err
}

// shims lists the shims of a tree by process id.
func shims(t *tree) []int {
	all := processesOf(t.dir)
	maps.DeleteFunc(all, func(_ int, argv []string) bool { return filepath.Base(argv[0]) != "edgeshim" })
	return slices.Sorted(maps.Keys(all))
}

func shimMemory(t *tree) (figure, error) {
	pids := shims(t)
	if len(pids) == 0 {
		return figure{}, errors.New("no edgeshim runs")
	}
	sum := 0.0
	for _, pid := range pids {
		kib, err := memoryKiB(pid, "smaps_rollup", "Pss")
		if err != nil {
			return figure{}, fmt.Errorf("memory of edgeshim: %w", err)
		}
		sum += kib
	}
	return atMost("native: memory per job (PSS of edgeshim)", sum/1024/float64(len(pids)), "MiB", shimTargetMiB).
		noted("with %d jobs", len(pids)), nil
}

// recovered is what the agent logs when it has found its workloads again.
var recovered = regexp.MustCompile(`msg="runtime recovered" runtime=native workloads=(\d+) instances=(\d+) orphans=(\d+)`)

// measureAdoption kills the agent, starts a new one and takes the time until
// that has all workloads, all of which must still be the same processes.
func measureAdoption(ctx context.Context, t *tree) ([]figure, error) {
	before := shims(t)
	t.agent.kill()
	begin := time.Now()
	var err error
	if t.agent, err = start("agent", nil, t.agentArgs[:len(t.agentArgs)-2]...); err != nil {
		return nil, err
	}
	m, err := t.await(ctx, t.agent, recovered)
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	if err := t.awaitNode(ctx); err != nil {
		return nil, err
	}
	back := time.Since(begin)
	all, err := node.DialControl(t.path("agent")).Workloads(ctx)
	if err != nil {
		return nil, err
	}
	running := 0
	for _, in := range all {
		if in.State == job.Running && in.Restarts == 0 {
			running++
		}
	}
	if after := shims(t); running != hundred || !slices.Equal(before, after) {
		return nil, fmt.Errorf("after the agent was killed, %d jobs run as before, by %d of %d shims", running, len(after), len(before))
	}
	return []figure{
		atMost("native: adoption of 100 jobs after kill -9", milliseconds(took), "ms", adoptionTargetMS).
			noted("%s workloads, %s instances, %s orphans; same processes", m[1], m[2], m[3]),
		{Name: "native: node ready at the root after kill -9", Value: milliseconds(back), Unit: "ms"},
	}, nil
}
