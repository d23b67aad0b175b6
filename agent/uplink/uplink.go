// Package uplink is the child's side of the link of a node: it joins, connects
// to a parent, registers, serves what the parent asks, and reports what has
// changed. It translates between the wire and package workload and decides
// nothing about workloads itself; without a parent they go on as before.
package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"storj.io/drpc/drpcmux"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/enrol"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// Workloads is what the parent asks of the node.
type Workloads interface {
	Apply(ctx context.Context, b workload.Batch) (workload.Answer, error)
	Refusals(j job.Job) []string
	Has(id string) bool
	Logs(ctx context.Context, id string, o drivers.LogOptions, sink func(drivers.LogEntry) error) error
	Exec(ctx context.Context, id string, o drivers.ExecOptions) (exitCode int, err error)
}

// News is what the node has to tell its parent.
type News interface {
	News() <-chan struct{}
	TakeNews(limit int) []workload.Status
	ReportAgain(taken []workload.Status)
	ReportAll()
	Acknowledge(acks []workload.Acknowledgement)
	OfferChanged() <-chan struct{}
	Offer() workload.Offer
}

// Usage is what the node's workloads and all else on it use.
type Usage struct {
	At          time.Time
	CPUMillis   uint32
	MemoryBytes uint64
	DiskBytes   uint64
}

// Node is who the node is and what it has. It does not change while it runs.
type Node struct {
	Name    string
	Version string // of the agent
	BootID  string
	Arch    string
	Labels  map[string]string
	Report  []byte // capabilities, JSON
}

// Config is what an Uplink works with.
type Config struct {
	Node      Node
	Identity  *identity.Store
	Parents   func() []string
	Workloads Workloads
	News      News
	// Sample measures the node's usage; nil: no samples are sent.
	Sample func(ctx context.Context) (Usage, error)
	// UsageInterval is used if the parent does not name one.
	UsageInterval time.Duration
	Addresses     func() []string // of the node, for endpoints of workloads
	Link          link.Config     // TLS is set by New
	Backoff       link.Backoff
	Log           *slog.Logger
}

// Uplink keeps the node in touch with its parent.
type Uplink struct {
	cfg     Config
	log     *slog.Logger
	link    link.Uplink
	offers  atomic.Uint64 // sequence of offers
	samples atomic.Uint64
	parent  atomic.Pointer[link.Session]
}

// callTimeout is for calls that the parent answers from its store.
const callTimeout = 30 * time.Second

// New returns an Uplink. It connects to nobody yet.
func New(cfg Config) *Uplink {
	cfg.Link.TLS = cfg.Identity.ClientTLS(identity.TLSOptions{})
	cfg.Link.Logger = cfg.Log
	u := &Uplink{cfg: cfg, log: cfg.Log}
	u.link = link.Uplink{Addrs: cfg.Parents, Config: cfg.Link, Logger: cfg.Log, Backoff: cfg.Backoff}
	return u
}

// Run keeps a session until the context ends.
func (u *Uplink) Run(ctx context.Context) error {
	if err := u.link.Run(ctx, u.session); ctx.Err() == nil {
		return fmt.Errorf("uplink: %w", err)
	}
	return nil
}

// State says how the link is doing.
func (u *Uplink) State() link.UplinkState { return u.link.State() }

// Leave tells the parent that this node will not come back by itself.
func (u *Uplink) Leave(ctx context.Context, reason string) error {
	s := u.parent.Load()
	if s == nil {
		return link.Error(link.Unavailable, "leave: there is no link to a parent now")
	}
	return leave(ctx, s, reason)
}

func leave(ctx context.Context, s *link.Session, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := edgeiov1.NewDRPCParentClient(s.Conn()).Leave(ctx, &edgeiov1.LeaveRequest{Reason: reason}); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

// session registers with the parent and then does all that goes on for as long
// as the session lives.
func (u *Uplink) session(ctx context.Context, s *link.Session) error {
	g, ctx := errgroup.WithContext(ctx)
	child := newChild(u)
	mux := drpcmux.New()
	if err := edgeiov1.DRPCRegisterChild(mux, child); err != nil {
		return fmt.Errorf("serve the parent: %w", err)
	}
	g.Go(func() error { return s.Serve(ctx, mux) })
	g.Go(func() error {
		parent := edgeiov1.NewDRPCParentClient(s.Conn())
		interval, err := u.register(ctx, parent)
		if err != nil {
			return err
		}
		u.parent.Store(s)
		defer u.parent.CompareAndSwap(s, nil)
		g.Go(func() error { return u.report(ctx, parent) })
		g.Go(func() error { return u.reportOffers(ctx, parent) })
		g.Go(func() error { return u.sendUsage(ctx, s, interval) })
		g.Go(func() error { enrol.KeepFresh(ctx, u.cfg.Identity, s, u.log); return nil })
		<-ctx.Done()
		return context.Cause(ctx)
	})
	return g.Wait()
}

func (u *Uplink) register(ctx context.Context, parent edgeiov1.DRPCParentClient) (usage time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	offer := u.cfg.News.Offer()
	n := u.cfg.Node
	resp, err := parent.Register(ctx, &edgeiov1.RegisterRequest{
		Name: n.Name, Version: n.Version, BootId: n.BootID, Labels: n.Labels, Report: n.Report,
		Runtimes: wireRuntimes(offer.Runtimes), Offer: u.wireOffer(offer),
	})
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	u.log.Info("registered", "parent", resp.GetParentName(), "parent_id", resp.GetParentId())
	u.cfg.News.ReportAll()
	usage = time.Duration(resp.GetUsageIntervalMs()) * time.Millisecond
	if usage <= 0 {
		usage = u.cfg.UsageInterval
	}
	return usage, nil
}

// pause waits, and reports whether the context still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// lasting reports whether a call that failed with err will fail again on this
// session.
func lasting(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, link.Denied) || errors.Is(err, link.Unsupported)
}
