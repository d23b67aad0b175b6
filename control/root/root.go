// Package root is the root orchestrator: the core that both tiers share
// (control/orchestrator), the authority of the tree, and the API of its users.
// It owns what differs from a cluster: jobs come from users, certificates from
// the authority, and tokens are kept here.
package root

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/sync/errgroup"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/server"
	"github.com/edgeio/edgeio/control/orchestrator"
	"github.com/edgeio/edgeio/control/pki"
	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// Config is what a root orchestrator runs with.
type Config struct {
	DataDir       string
	Name          string        // for people
	APIAddr       string        // to listen on for users, HTTPS
	LinkAddr      string        // to listen on for clusters and nodes, QUIC
	Advertise     []string      // host names and addresses under which both are reached from outside
	UsageInterval time.Duration // of usage reports of nodes that are attached here
	Version       string        // of the program
	// Ready, if not nil, is called once users and children can connect.
	Ready func(Endpoints)
}

// Endpoints is where a root can be reached, and how to begin.
type Endpoints struct {
	API     net.Addr
	Link    net.Addr
	Client  string // path of a configuration for edgectl with an admin's token
	Backend server.Backend
}

// ClientConfigFile is made in the data directory at the first start: with it
// edgectl reaches this root as admin.
const ClientConfigFile = "edgectl.yaml"

// Run serves until the context ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	st, err := store.OpenBolt(filepath.Join(cfg.DataDir, "root.db"))
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	authority, err := pki.Open(filepath.Join(cfg.DataDir, "authority"), nil)
	if err != nil {
		return err
	}
	id, err := identity.Open(filepath.Join(cfg.DataDir, "identity"))
	if err != nil {
		return err
	}
	if err := certify(cfg, authority, id); err != nil {
		return err
	}
	core, err := orchestrator.New(ctx, orchestrator.Config{
		Tier: orchestrator.Root, ID: id.Peer().ID, Name: cfg.Name, Store: st,
		Strategy: scheduler.FirstFit, Logger: log, UsageInterval: cfg.UsageInterval,
	})
	if err != nil {
		return err
	}
	return serve(ctx, cfg, log, st, authority, id, core)
}

func serve(ctx context.Context, cfg Config, log *slog.Logger, st store.Store, authority *pki.Authority, id *identity.Store, core *orchestrator.Core) error {
	resetKey, err := id.DeriveKey("quic reset")
	if err != nil {
		return err
	}
	links, err := link.Listen(cfg.LinkAddr, link.Config{
		TLS:      id.ServerTLS(identity.TLSOptions{Accept: []identity.Kind{identity.Cluster, identity.Node}}),
		Logger:   log,
		ResetKey: &resetKey,
	})
	if err != nil {
		return fmt.Errorf("listen for clusters and nodes: %w", err)
	}
	users, err := net.Listen("tcp", cfg.APIAddr)
	if err != nil {
		_ = links.Close()
		return fmt.Errorf("listen for users: %w", err)
	}
	tk := tokens{store: st, core: core, pin: authority.Pin(), addresses: joinAddresses(cfg.Advertise, links.Addr())}
	client, err := clientConfig(ctx, cfg, tk, authority, users.Addr())
	if err != nil {
		_, _ = links.Close(), users.Close()
		return err
	}
	backend := server.Backend{
		Jobs: jobs{core}, Instances: jobs{core}, Events: jobs{core}, Fleet: fleet{core}, Tokens: tk, Auth: tk,
	}
	handler := server.Handler(backend, server.Options{Version: cfg.Version, Tier: "root", Name: cfg.Name, Log: log})
	children := &orchestrator.Server{
		Core: core, Listener: links, Logger: log,
		Authority: &orchestrator.Authority{Issuer: authority, Redeem: tk.redeem},
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return core.Run(ctx) })
	g.Go(func() error { return children.Run(ctx) })
	g.Go(func() error { return server.Serve(ctx, users, id.HTTPSConfig(), handler, log) })
	g.Go(func() error { return keepCertified(ctx, cfg, authority, id, log) })
	if cfg.Ready != nil {
		cfg.Ready(Endpoints{API: users.Addr(), Link: links.Addr(), Client: client, Backend: backend})
	}
	return g.Wait()
}

// certify issues the root's own certificate. It is done at each start, so that
// the names and addresses in it are those of the configuration.
func certify(cfg Config, authority *pki.Authority, id *identity.Store) error {
	csr, err := id.CSR(cfg.Name)
	if err != nil {
		return err
	}
	names, ips := serverNames(cfg.Advertise)
	chain, err := authority.IssueServer(csr, cfg.Name, names, ips)
	if err != nil {
		return err
	}
	return id.Enrol(authority.Pin(), chain, nil)
}

// keepCertified renews the root's own certificate in time.
func keepCertified(ctx context.Context, cfg Config, authority *pki.Authority, id *identity.Store, log *slog.Logger) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		leaf := id.Leaf()
		if time.Now().Before(identity.RenewAt(leaf.NotBefore, leaf.NotAfter, 0.5)) {
			continue
		}
		if err := certify(cfg, authority, id); err != nil {
			log.Error("renew the root's own certificate", "err", err, "expires", leaf.NotAfter)
		}
	}
}

// serverNames splits what to advertise into host names and addresses; this
// machine's own are always among them.
func serverNames(advertise []string) (names []string, ips []net.IP) {
	names, ips = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			ips = append(ips, n.IP)
		}
	}
	for _, a := range advertise {
		if ip := net.ParseIP(a); ip != nil {
			ips = append(ips, ip)
		} else {
			names = append(names, a)
		}
	}
	return names, ips
}

// joinAddresses is where children can join, as far as it is known here.
func joinAddresses(advertise []string, bound net.Addr) []string {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return nil
	}
	if len(advertise) == 0 {
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			if host, err = os.Hostname(); err != nil {
				return nil
			}
		}
		advertise = []string{host}
	}
	var out []string
	for _, a := range advertise {
		out = append(out, net.JoinHostPort(a, port))
	}
	return out
}

// clientConfig makes the configuration with which an admin begins. The token
// of an earlier start is kept; the address may have changed.
func clientConfig(ctx context.Context, cfg Config, tk tokens, authority *pki.Authority, bound net.Addr) (string, error) {
	path := filepath.Join(cfg.DataDir, ClientConfigFile)
	var conf struct {
		Address   string `yaml:"address"`
		Authority string `yaml:"authority"`
		Token     string `yaml:"token"`
	}
	if old, err := os.ReadFile(path); err == nil {
		if err := yaml.Unmarshal(old, &conf); err != nil {
			return "", fmt.Errorf("read %s: %w; remove it to get a new one", path, err)
		}
	}
	if _, err := tk.Authenticate(ctx, conf.Token); err != nil {
		created, err := tk.CreateAPIToken(ctx, api.NewAPIToken{Name: "first-admin"})
		if err != nil {
			return "", err
		}
		conf.Token = created.Token
	}
	conf.Address, conf.Authority = "https://"+reachable(bound), string(authority.RootsPEM())
	text, err := yaml.Marshal(conf)
	if err != nil {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	return path, identity.WriteFile(path, text, 0o600)
}

// reachable is an address that a client on this machine can dial.
func reachable(bound net.Addr) string {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return bound.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
