package node_test

import (
	"context"
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
	"github.com/edgeio/edgeio/agent/uplink/uplinktest"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
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

func newAgent(t *testing.T, p *uplinktest.Parent, host *fake.Host) *agent {
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
	if _, err := node.Join(t.Context(), cfg, p.Addr, p.Token(), false, a.parts.Log); err != nil {
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
	return uplinktest.Assignment(id, generation, j)
}

func TestJobOverRealLink(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	a.start()
	p.Until("registered", func() bool { return p.Registered != nil && p.Revision > 0 })
	if r := p.Registered; r.GetName() != "e580" || r.GetBootId() != "boot" || len(r.GetRuntimes()) != 1 || !r.GetRuntimes()[0].GetUsable() {
		t.Errorf("registered as %v", r)
	}
	p.Until("usage", func() bool { return p.Usage > 0 })

	resp := p.Apply([]*edgeiov1.Assignment{
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
	p.UntilState("good", "RUNNING")
	p.Until("offer", func() bool { return p.Offer.GetInstances() == 1 })

	if resp := p.Apply(nil, "good", "big"); !slices.Equal(resp.GetAbsent(), []string{"big"}) {
		t.Errorf("absent %v, want [big]", resp.GetAbsent())
	}
	p.UntilState("good", "TERMINATED")
	if h := p.Told("good"); h != "SCHEDULED_NODE RUNNING TERMINATED" {
		t.Errorf("history %s", h)
	}
}

func TestSnapshotRemovesWhatItDoesNotName(t *testing.T) {
	p := uplinktest.New(t)
	host := fake.NewHost(nil)
	a := newAgent(t, p, host)
	for i := range 5 {
		id := fmt.Sprintf("i%d", i)
		p.Want(assignment(id, 1))
	}
	a.start()
	p.UntilState("i4", "RUNNING")
	a.stop()

	p.Update(func() { delete(p.Wanted, "i2") })
	a.start()
	p.UntilState("i2", "TERMINATED")
	for i := range 5 {
		if i == 2 {
			continue
		}
		p.UntilState(fmt.Sprintf("i%d", i), "RUNNING")
		if h := p.Told(fmt.Sprintf("i%d", i)); h != "SCHEDULED_NODE RUNNING" {
			t.Errorf("i%d was not left alone: %s", i, h)
		}
	}
}

func TestReportsAreRepeatedUntilStored(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(func(drivers.Spec) fake.Script { return fake.Script{} }))
	p.Update(func() { p.Refuse = link.Error(link.Internal, "the store is broken") })
	p.Want(assignment("once", 1, func(j *job.Job) { j.Kind = job.Batch }))
	a.start()
	p.Until("connected", func() bool { return p.Revision > 0 })
	p.Update(func() { p.Refuse = nil })
	p.UntilState("once", "COMPLETED")
	if h := p.Told("once"); h != "SCHEDULED_NODE RUNNING COMPLETED" {
		t.Errorf("history %s", h)
	}
}

func TestWhatHasEndedIsNotBegunAnew(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	a.start()
	p.Until("registered", func() bool { return p.Registered != nil && p.Revision > 0 })
	ended := assignment("done", 1)
	ended.Ended = true
	resp := p.Apply([]*edgeiov1.Assignment{ended})
	if len(resp.GetRefusals()) != 0 {
		t.Errorf("refused: %v", resp.GetRefusals())
	}
	if resp := p.Apply(nil, "done"); !slices.Equal(resp.GetAbsent(), []string{"done"}) {
		t.Errorf("absent %v: an ended instance that the node did not have was begun", resp.GetAbsent())
	}
}

func TestWrongBaseRevisionIsAConflict(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	a.start()
	p.Until("connected", func() bool { return p.Revision > 0 })
	_, err := edgeiov1.NewDRPCChildClient(p.Session.Conn()).Apply(t.Context(), &edgeiov1.ApplyRequest{Revision: 9, BaseRevision: 8})
	if !errors.Is(err, link.Conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}

func TestSecondAgentIsTurnedAway(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	a.start()
	_, err := node.New(a.cfg, a.parts)
	if !errors.Is(err, store.ErrInUse) {
		t.Errorf("got %v, want %v", err, store.ErrInUse)
	}
}

func TestJoinOnlyOnce(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	_, err := node.Join(t.Context(), a.cfg, p.Addr, p.Token(), false, a.parts.Log)
	if !errors.Is(err, node.ErrJoined) {
		t.Errorf("got %v, want %v", err, node.ErrJoined)
	}
	if _, err := node.Join(t.Context(), a.cfg, p.Addr, p.Token(), true, a.parts.Log); err != nil {
		t.Errorf("with force: %v", err)
	}
}

func TestLeaveEndsTheAgent(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	n, err := node.New(a.cfg, a.parts)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(t.Context()) }()
	p.Until("registered", func() bool { return p.Usage > 0 })
	if err := node.Leave(t.Context(), a.cfg, a.parts.Log); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	p.Until("told that the node leaves", func() bool { return p.Left != "" })
	if _, err := node.New(a.cfg, a.parts); !errors.Is(err, node.ErrNotJoined) {
		t.Errorf("got %v, want %v", err, node.ErrNotJoined)
	}
}

func TestControlSocketListsWorkloads(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	p.Want(assignment("w", 1))
	a.start()
	p.UntilState("w", "RUNNING")
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

func TestParentComesBack(t *testing.T) {
	p := uplinktest.New(t)
	host := fake.NewHost(nil)
	a := newAgent(t, p, host)
	p.Want(assignment("a", 1), assignment("b", 1))
	a.start()
	p.UntilState("b", "RUNNING")
	p.UntilState("a", "RUNNING")
	p.Close()
	host.End("a", 1, drivers.Exit{Code: 3})
	p.Update(func() { p.Registered = nil })
	p.Restart()
	p.Until("registered again", func() bool { return p.Registered != nil })
	p.Until("a is restarted", func() bool { return p.Last["a"].GetRestarts() == 1 })
	p.UntilState("a", "RUNNING")
	if got := p.Told("a"); got != "SCHEDULED_NODE RUNNING SCHEDULED_NODE RUNNING" {
		t.Errorf("history of a: %s", got)
	}
	if got := p.Told("b"); got != "SCHEDULED_NODE RUNNING" {
		t.Errorf("history of b: %s", got)
	}
}

func TestRebootWhileCutOff(t *testing.T) {
	p := uplinktest.New(t)
	host := fake.NewHost(nil)
	a := newAgent(t, p, host)
	p.Want(assignment("a", 1))
	a.start()
	p.UntilState("a", "RUNNING")
	a.stop()
	p.Close()
	host.Reboot()
	a.parts.Machine.BootID = "another"
	a.start()
	for deadline := time.Now().Add(15 * time.Second); ; {
		all, err := node.DialControl(a.cfg.StateDir).Workloads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 && all[0].State == job.Running && all[0].Restarts == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not started again: %+v", all)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCertificateIsRenewedWhenDue(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	id, err := node.OpenIdentity(a.cfg.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	p.Issue(id, a.cfg.Name, time.Now().Add(-identity.LeafLifetime*7/10))
	old := id.Leaf().NotAfter
	a.start()
	p.Until("renewed", func() bool { return p.Renewed > 0 })
	for deadline := time.Now().Add(15 * time.Second); !id.Leaf().NotAfter.After(old); {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not kept")
		}
		time.Sleep(5 * time.Millisecond)
		if id, err = node.OpenIdentity(a.cfg.StateDir); err != nil {
			t.Fatal(err)
		}
	}
}
