// Package node puts the agent together: the store, the supervisor of the
// workloads, the link to the parent and the control socket. It owns their
// long-lived goroutines and the order in which they begin and end, and leaves
// all decisions to them.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/store"
	"github.com/edgeio/edgeio/agent/uplink"
	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/identity"
)

// Parts are what an agent is made of besides its configuration.
type Parts struct {
	Version string
	Drivers map[string]drivers.Driver // by the name that job files use
	Images  workload.Images           // may be nil
	Machine Machine
	// Sample measures the node's usage; may be nil.
	Sample func(ctx context.Context) (uplink.Usage, error)
	Log    *slog.Logger
}

// Node is an agent that is ready to run.
type Node struct {
	cfg        config.Config
	log        *slog.Logger
	store      *store.Store
	identity   *identity.Store
	supervisor *workload.Supervisor
	uplink     *uplink.Uplink
	version    string
}

// ErrNotJoined is wrapped by New if the node has no certificate.
var ErrNotJoined = errors.New("this node has not joined a cluster yet")

// NotJoined returns the error that says what to do about that.
func NotJoined() error {
	return fmt.Errorf("%w: run \"edgeagent join ADDRESS --token TOKEN\" first", ErrNotJoined)
}

// New opens what the agent keeps in its state directory, which no other agent
// may use at the same time. After New, Run must be called; it closes all.
func New(cfg config.Config, p Parts) (*Node, error) {
	id, err := OpenIdentity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	if !id.Enrolled() {
		return nil, NotJoined()
	}
	joined, err := readParents(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	parents := append(append([]string{}, cfg.Parents...), joined...)
	if len(parents) == 0 {
		return nil, fmt.Errorf("no parent is known: name one under parents in the configuration, or join again")
	}
	st, err := store.Open(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	labels := p.Machine.labels(cfg.Labels)
	host := workload.Host{
		Arch: p.Machine.Arch, Capacity: p.Machine.capacity(cfg.Reserve), Devices: p.Machine.devices(cfg.Devices.Shared),
		Labels: labels, Taints: cfg.NodeTaints(),
	}
	sup, err := workload.New(workload.Config{
		Drivers: p.Drivers, Images: p.Images, Store: st, Host: host, BootID: p.Machine.BootID, Log: p.Log,
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	up := uplink.New(uplink.Config{
		Node: uplink.Node{
			Name: cfg.Name, Version: p.Version, BootID: p.Machine.BootID, Arch: p.Machine.Arch,
			Labels: labels, Report: p.Machine.Report,
		},
		Identity: id, Parents: func() []string { return parents }, Workloads: sup, News: sup,
		Sample: p.Sample, UsageInterval: cfg.UsageInterval, Addresses: addresses, Log: p.Log,
	})
	return &Node{
		cfg: cfg, log: p.Log, store: st, identity: id, supervisor: sup, uplink: up, version: p.Version,
	}, nil
}

// probeWait is how long the first registration waits for slow drivers; what
// they say later is sent then.
const probeWait = 2 * time.Second

// errLeft ends Run after the node has left its cluster.
var errLeft = errors.New("the node has left its cluster")

// Run is the agent's life. It returns nil when the context ends or the node
// has left. Workloads go on.
func (n *Node) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, n.store.Close()) }()
	n.log.Info("agent starts", "version", n.version, "node", n.identity.Peer().ID, "name", n.cfg.Name, "state_dir", n.cfg.StateDir)
	socket, err := listenControl(n.cfg.StateDir)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.supervisor.Run(ctx) })
	g.Go(func() error { return n.serveControl(ctx, socket) })
	g.Go(func() error {
		probeCtx, cancel := context.WithTimeout(ctx, probeWait)
		n.supervisor.Probed(probeCtx)
		cancel()
		return n.uplink.Run(ctx)
	})
	err = g.Wait()
	n.log.Info("agent ends; workloads go on")
	if errors.Is(err, errLeft) {
		return nil
	}
	return err
}

// OpenIdentity opens the identity in a state directory; on first use it makes
// the node's key.
func OpenIdentity(stateDir string) (*identity.Store, error) {
	// Users that workloads run as must get through to what is theirs.
	if err := os.MkdirAll(stateDir, 0o711); err != nil {
		return nil, fmt.Errorf("create the state directory: %w", err)
	}
	return identity.Open(filepath.Join(stateDir, "identity"))
}
