package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/server"
)

const gb = 1_000_000_000

func clusters() []api.Cluster {
	return []api.Cluster{{
		ID: "c1", Name: "garching", Location: "Garching", Ready: true, Version: "0.1.0", Address: "192.0.2.7:7443", Nodes: 1, Instances: 2,
		Capacity: api.Resources{CPUMillis: 8000, MemoryBytes: 16 * gb, DiskBytes: 100 * gb},
		Free:     api.Resources{CPUMillis: 6000, MemoryBytes: 12 * gb, DiskBytes: 90 * gb},
		LastSeen: Epoch, AgeSeconds: 1.5,
	}, {ID: "c2", Name: "lab", LastSeen: Epoch.Add(-time.Hour)}}
}

func nodes() []api.Node {
	return []api.Node{{
		ID: "n1", Name: "e580", Cluster: api.Ref{ID: "c1", Name: "garching"}, Ready: true, Version: "0.1.0", Arch: "amd64",
		Address: "192.0.2.8:53211", Instances: 2,
		Labels: map[string]string{"rack": "4", "edgeio.dev/arch": "amd64"},
		Taints: []api.Taint{{Key: "gpu", Value: "only", Effect: "prefer_no_schedule"}},
		Devices: []api.Devices{
			{Kind: "gpu", Vendor: "NVIDIA", Model: "GeForce MX150", MemoryBytes: 2 * gb, Count: 1, Names: []string{"gpu-pci-0000:01:00.0", "/dev/nvidia0"}},
			{Kind: "camera", Count: 2, Shared: true, Names: []string{"camera-usb-1-1", "/dev/video0", "camera-usb-1-2", "/dev/video1"}},
		},
		Runtimes: []api.Runtime{
			{Name: "docker", Usable: true, Version: "28.5.2", Features: []string{"exec", "stats"}},
			{Name: "lxc", Reason: "liblxc is not installed", Remedy: "apt install lxc"},
			{Name: "native", Usable: true, Version: "0.1.0"},
		},
		Capacity: api.Resources{CPUMillis: 8000, MemoryBytes: 16 * gb, DiskBytes: 100 * gb},
		Free:     api.Resources{CPUMillis: 6000, MemoryBytes: 12 * gb, DiskBytes: 90 * gb},
		Usage:    &api.Usage{CPUMillis: 500, MemoryBytes: 2 * gb, DiskBytes: 9 * gb, AgeSeconds: 3},
		LastSeen: Epoch, Report: json.RawMessage(`{"board":"Lenovo E580"}`),
	}}
}

// Clusters are one that is ready and one that is not.
func (f *Fake) Clusters(context.Context) ([]api.Cluster, error) { return clusters(), nil }

// Cluster returns a cluster.
func (f *Fake) Cluster(_ context.Context, ref string) (api.Cluster, error) {
	return api.Resolve("cluster", ref, clusters(), func(c api.Cluster) (id, name string) { return c.ID, c.Name }, nil)
}

// Nodes is one node.
func (f *Fake) Nodes(ctx context.Context, flt server.NodeFilter) ([]api.Node, error) {
	l := nodes()
	l[0].Report = nil
	if flt.Cluster == "" {
		return l, nil
	}
	c, err := f.Cluster(ctx, flt.Cluster)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(l, func(n api.Node) bool { return n.Cluster.ID != c.ID }), nil
}

// Node returns a node.
func (f *Fake) Node(_ context.Context, ref string) (api.Node, error) {
	return api.Resolve("node", ref, nodes(), func(n api.Node) (id, name string) { return n.ID, n.Name }, nil)
}

// CreateAPIToken makes a token with a secret that anyone can guess.
func (f *Fake) CreateAPIToken(_ context.Context, t api.NewAPIToken) (api.CreatedAPIToken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tok := api.APIToken{ID: fmt.Sprintf("t%d", len(f.tokens)+10), Name: t.Name, Role: t.Role, CreatedAt: Epoch}
	if t.TTLSeconds > 0 {
		tok.ExpiresAt = Epoch.Add(time.Duration(t.TTLSeconds) * time.Second)
	}
	f.tokens = append(f.tokens, tok)
	return api.CreatedAPIToken{APIToken: tok, Token: "secret-" + tok.ID}, nil
}

// APITokens lists them.
func (f *Fake) APITokens(context.Context) ([]api.APIToken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tokens), nil
}

// RevokeAPIToken removes one.
func (f *Fake) RevokeAPIToken(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.tokens)
	f.tokens = slices.DeleteFunc(f.tokens, func(t api.APIToken) bool { return t.ID == id })
	if len(f.tokens) == n {
		return fmt.Errorf("%w: no token has the id %q", api.ErrNotFound, id)
	}
	return nil
}

// CreateJoinToken makes a join token.
func (f *Fake) CreateJoinToken(ctx context.Context, t api.NewJoinToken) (api.CreatedJoinToken, error) {
	if t.Cluster != "" {
		if _, err := f.Cluster(ctx, t.Cluster); err != nil {
			return api.CreatedJoinToken{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	tok := api.JoinToken{
		ID: fmt.Sprintf("j%d", len(f.joins)+10), Kind: t.Kind, Cluster: t.Cluster, Uses: *t.Uses,
		CreatedAt: Epoch, ExpiresAt: Epoch.Add(time.Duration(t.TTLSeconds) * time.Second),
	}
	f.joins = append(f.joins, tok)
	return api.CreatedJoinToken{JoinToken: tok, Token: "join-" + tok.ID, Addresses: []string{"root.example:7443"}}, nil
}

// JoinTokens lists them.
func (f *Fake) JoinTokens(context.Context) ([]api.JoinToken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.joins), nil
}

// RevokeJoinToken removes one.
func (f *Fake) RevokeJoinToken(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.joins)
	f.joins = slices.DeleteFunc(f.joins, func(t api.JoinToken) bool { return t.ID == id })
	if len(f.joins) == n {
		return fmt.Errorf("%w: no join token has the id %q", api.ErrNotFound, id)
	}
	return nil
}
