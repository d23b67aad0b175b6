package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/agent/store"
	"github.com/edgeio/edgeio/agent/uplink"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// agent is a node on which agents come and go.
type agent struct {
	t     *testing.T
	cfg   config.Config
	parts node.Parts
	stop  func()
}

func newAgent(t *testing.T, p *parent, host *fake.Host) *agent {
	t.Helper()
	cfg := config.Default()
	cfg.Name, cfg.StateDir = "e580", t.TempDir()
	a := &agent{t: t, cfg: cfg, parts: node.Parts{
		Version: "test",
		Drivers: map[string]drivers.Driver{"fake": fake.New(host)},
		Machine: node.Machine{Arch: "amd64", Cores: 4, MemoryBytes: 8e9, DiskFreeBytes: 100e9, BootID: "boot"},
		Sample:  func(context.Context) (uplink.Usage, error) { return uplink.Usage{At: time.Now(), CPUMillis: 7}, nil },
		Log:     slog.New(slog.DiscardHandler),
	}}
	if _, err := node.Join(t.Context(), cfg, p.addr, p.token(), false, a.parts.Log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if a.stop != nil {
			a.stop()
		}
	})
	return a
}

func (a *agent) start() {
	a.t.Helper()
	n, err := node.New(a.cfg, a.parts)
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			a.t.Errorf("run: %v", err)
		}
	})
}

func assignment(id string, generation uint64, change ...func(*job.Job)) *edgeiov1.Assignment {
	j := job.Job{APIVersion: job.APIVersion, Name: "test", Image: "image", Runtime: "fake"}
	for _, f := range change {
		f(&j)
	}
	data, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return &edgeiov1.Assignment{InstanceId: id, Generation: generation, JobId: "j", Job: data}
}

func TestJobOverRealLink(t *testing.T) {
	p := newParent(t)
	a := newAgent(t, p, fake.NewHost(nil))
	a.start()
	p.until("registered", func() bool { return p.register != nil && p.revision > 0 })
	if r := p.registered(); r.GetName() != "e580" || r.GetBootId() != "boot" || len(r.GetRuntimes()) != 1 || !r.GetRuntimes()[0].GetUsable() {
		t.Errorf("registered as %v", r)
	}
	p.until("usage", func() bool { return p.usage > 0 })

	resp := p.apply([]*edgeiov1.Assignment{
		assignment("good", 1, func(j *job.Job) { j.Requirements.CPU = 1 }),
		assignment("big", 1, func(j *job.Job) { j.Requirements.CPU = 99 }),
		assignment("odd", 1, func(j *job.Job) { j.Runtime = "kvm" }),
		{InstanceId: "broken", Generation: 1, Job: []byte("{")},
	})
	var refused []string
	for _, r := range resp.GetRefusals() {
		refused = append(refused, r.GetInstanceId())
		if r.GetReason() == "" {
			t.Errorf("%s is refused without a reason", r.GetInstanceId())
		}
	}
	slices.Sort(refused)
	if want := []string{"big", "broken", "odd"}; !slices.Equal(refused, want) {
		t.Errorf("refused %v, want %v", refused, want)
	}
	if free := resp.GetOffer().GetFree().GetCpuMillis(); free != 3000 {
		t.Errorf("%d CPU millis are free after that, want 3000", free)
	}
	p.untilState("good", "RUNNING")
	p.until("offer", func() bool { return p.offer.GetInstances() == 1 })

	if resp := p.apply(nil, "good", "big"); !slices.Equal(resp.GetAbsent(), []string{"big"}) {
		t.Errorf("absent %v, want [big]", resp.GetAbsent())
	}
	p.untilState("good", "TERMINATED")
	if h := p.told("good"); h != "SCHEDULED_NODE RUNNING TERMINATED" {
		t.Errorf("history %s", h)
	}
}

func TestSnapshotRemovesWhatItDoesNotName(t *testing.T) {
	p := newParent(t)
	host := fake.NewHost(nil)
	a := newAgent(t, p, host)
	for i := range 5 {
		id := fmt.Sprintf("i%d", i)
		p.want(assignment(id, 1))
	}
	a.start()
	p.untilState("i4", "RUNNING")
	a.stop()

	p.update(func() { delete(p.wanted, "i2") })
	a.start()
	p.untilState("i2", "TERMINATED")
	for i := range 5 {
		if i == 2 {
			continue
		}
		p.untilState(fmt.Sprintf("i%d", i), "RUNNING")
		if h := p.told(fmt.Sprintf("i%d", i)); h != "SCHEDULED_NODE RUNNING" {
			t.Errorf("i%d was not left alone: %s", i, h)
		}
	}
}

func TestReportsAreRepeatedUntilStored(t *testing.T) {
	p := newParent(t)
	a := newAgent(t, p, fake.NewHost(func(drivers.Spec) fake.Script { return fake.Script{} }))
	p.update(func() { p.refuse = link.Error(link.Internal, "the store is broken") })
	p.want(assignment("once", 1, func(j *job.Job) { j.Kind = job.Batch }))
	a.start()
	p.until("connected", func() bool { return p.revision > 0 })
	p.update(func() { p.refuse = nil })
	p.untilState("once", "COMPLETED")
	if h := p.told("once"); h != "SCHEDULED_NODE RUNNING COMPLETED" {
		t.Errorf("history %s", h)
	}
}

func TestWrongBaseRevisionIsAConflict(t *testing.T) {
	p := newParent(t)
	a := newAgent(t, p, fake.NewHost(nil))
	a.start()
	p.until("connected", func() bool { return p.revision > 0 })
	_, err := edgeiov1.NewDRPCChildClient(p.session.Conn()).Apply(t.Context(), &edgeiov1.ApplyRequest{Revision: 9, BaseRevision: 8})
	if !errors.Is(err, link.Conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}

func TestSecondAgentIsTurnedAway(t *testing.T) {
	p := newParent(t)
	a := newAgent(t, p, fake.NewHost(nil))
	a.start()
	_, err := node.New(a.cfg, a.parts)
	if !errors.Is(err, store.ErrInUse) {
		t.Errorf("got %v, want %v", err, store.ErrInUse)
	}
}

func TestJoinOnlyOnce(t *testing.T) {
	p := newParent(t)
	a := newAgent(t, p, fake.NewHost(nil))
	_, err := node.Join(t.Context(), a.cfg, p.addr, p.token(), false, a.parts.Log)
	if !errors.Is(err, node.ErrJoined) {
		t.Errorf("got %v, want %v", err, node.ErrJoined)
	}
	if _, err := node.Join(t.Context(), a.cfg, p.addr, p.token(), true, a.parts.Log); err != nil {
		t.Errorf("with force: %v", err)
	}
}

func TestLeaveEndsTheAgent(t *testing.T) {
	p := newParent(t)
	a := newAgent(t, p, fake.NewHost(nil))
	n, err := node.New(a.cfg, a.parts)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(t.Context()) }()
	p.until("registered", func() bool { return p.usage > 0 })
	if err := node.Leave(t.Context(), a.cfg, a.parts.Log); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == "" {
		t.Error("the parent was not told")
	}
	if _, err := node.New(a.cfg, a.parts); !errors.Is(err, node.ErrNotJoined) {
		t.Errorf("got %v, want %v", err, node.ErrNotJoined)
	}
}

func TestControlSocketListsWorkloads(t *testing.T) {
	p := newParent(t)
	a := newAgent(t, p, fake.NewHost(nil))
	p.want(assignment("w", 1))
	a.start()
	p.untilState("w", "RUNNING")
	for _, running := range []bool{true, false} {
		if !running {
			a.stop()
		}
		all, err := node.DialControl(a.cfg.StateDir).Workloads(t.Context())
		if err != nil || len(all) != 1 || all[0].State != job.Running {
			t.Errorf("agent runs %t: %v, %v", running, all, err)
		}
	}
}
