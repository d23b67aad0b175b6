// Package cluster is the cluster orchestrator: the core that both tiers share
// (control/orchestrator), a listener for worker nodes, and an uplink to the
// root. It owns what differs from the root: it gets its jobs from a parent, and
// issues certificates to its nodes with an intermediate authority.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeio/edgeio/control/orchestrator"
	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/enrol"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// Config is what a cluster orchestrator runs with.
type Config struct {
	DataDir       string            // identity and store
	Name          string            // of the cluster; a name that jobs can ask for
	Location      string            // of the cluster, such as a town
	Labels        map[string]string // shown to users
	Parents       []string          // addresses of the root's link, host:port
	Token         string            // join token; needed until the cluster has joined
	LinkAddr      string            // to listen on for worker nodes
	UsageInterval time.Duration     // of the nodes' usage reports
	Version       string            // of the program
	// Ready, if not nil, is called once nodes can connect.
	Ready func(link net.Addr)
}

// Run serves until the context ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	st, err := store.OpenBolt(filepath.Join(cfg.DataDir, "cluster.db"))
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	id, err := identity.Open(filepath.Join(cfg.DataDir, "identity"))
	if err != nil {
		return err
	}
	if err := join(ctx, cfg, id, log); err != nil {
		return err
	}
	core, err := orchestrator.New(ctx, orchestrator.Config{
		Tier: orchestrator.Cluster, ID: id.Peer().ID, Name: cfg.Name, Store: st,
		Strategy: scheduler.FirstFit, Logger: log, UsageInterval: cfg.UsageInterval,
	})
	if err != nil {
		return err
	}
	resetKey, err := id.DeriveKey("quic reset")
	if err != nil {
		return err
	}
	listener, err := link.Listen(cfg.LinkAddr, link.Config{
		TLS:      id.ServerTLS(identity.TLSOptions{Accept: []identity.Kind{identity.Node}}),
		Logger:   log,
		ResetKey: &resetKey,
	})
	if err != nil {
		return fmt.Errorf("listen for worker nodes: %w", err)
	}
	up := &uplink{cfg: cfg, core: core, id: id, log: log}
	server := &orchestrator.Server{Core: core, Listener: listener, Authority: up.authority(), Logger: log}
	if cfg.Ready != nil {
		cfg.Ready(listener.Addr())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return core.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return up.run(ctx) })
	return g.Wait()
}

// join enrols once. While the root cannot be reached it tries again: machines
// of one site often start together.
func join(ctx context.Context, cfg Config, id *identity.Store, log *slog.Logger) error {
	if id.Enrolled() {
		return nil
	}
	if cfg.Token == "" {
		return fmt.Errorf("this cluster has not joined a root yet: give it a join token (made by: edgectl token create --join cluster)")
	}
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		peer, err := enrol.Join(ctx, enrol.Request{
			Store: id, Kind: identity.Cluster, Name: cfg.Name, Token: cfg.Token, Addrs: cfg.Parents, Logger: log,
		})
		if err == nil {
			log.Info("joined", "id", peer.ID, "name", peer.Name)
			return nil
		}
		if link.ClassOf(err) != link.Unavailable || ctx.Err() != nil {
			return err
		}
		log.Warn("join the root", "err", err, "retry", wait)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}
