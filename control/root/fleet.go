package root

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/server"
	"github.com/edgeio/edgeio/control/orchestrator"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
)

const (
	kindCluster = string(identity.Cluster)
	kindNode    = string(identity.Node)
)

// fleet serves the parts of the API that are about clusters and nodes.
type fleet struct{ core *orchestrator.Core }

var _ server.Fleet = fleet{}

func (f fleet) Clusters(context.Context) ([]api.Cluster, error) {
	out := []api.Cluster{}
	for _, ch := range f.core.Children() {
		if ch.Kind == kindCluster {
			out = append(out, clusterView(ch, time.Now()))
		}
	}
	return out, nil
}

func (f fleet) Cluster(ctx context.Context, ref string) (api.Cluster, error) {
	all, err := f.Clusters(ctx)
	if err != nil {
		return api.Cluster{}, err
	}
	return api.Resolve("cluster", ref, all,
		func(c api.Cluster) (string, string) { return c.ID, c.Name },
		func(c api.Cluster) bool { return c.Ready })
}

func (f fleet) Nodes(ctx context.Context, filter server.NodeFilter) ([]api.Node, error) {
	only := ""
	if filter.Cluster != "" {
		c, err := f.Cluster(ctx, filter.Cluster)
		if err != nil {
			return nil, err
		}
		only = c.ID
	}
	out := []api.Node{}
	for _, below := range f.core.Nodes(ctx, &pb.ListNodesRequest{}) {
		if filter.Cluster == "" || below.ClusterID == only {
			out = appendNodes(out, below)
		}
	}
	slices.SortFunc(out, func(a, b api.Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// Node finds out who has the node before it asks for its report, which may be
// large.
func (f fleet) Node(ctx context.Context, ref string) (api.Node, error) {
	all, err := f.Nodes(ctx, server.NodeFilter{})
	if err != nil {
		return api.Node{}, err
	}
	n, err := api.Resolve("node", ref, all,
		func(n api.Node) (string, string) { return n.ID, n.Name },
		func(n api.Node) bool { return n.Ready })
	if err != nil {
		return api.Node{}, err
	}
	for _, below := range f.core.Nodes(ctx, &pb.ListNodesRequest{Node: n.ID, WithReport: true}) {
		if found := appendNodes(nil, below); len(found) == 1 {
			return found[0], nil
		}
	}
	return n, nil
}

func appendNodes(out []api.Node, below orchestrator.NodesBelow) []api.Node {
	for _, n := range below.Nodes {
		v := nodeView(n)
		if below.ClusterID != "" {
			v.Cluster = api.Ref{ID: below.ClusterID, Name: below.ClusterName}
		}
		out = append(out, v)
	}
	return out
}

func clusterView(ch orchestrator.ChildView, now time.Time) api.Cluster {
	v := api.Cluster{
		ID: ch.ID, Name: ch.Name, Location: ch.Location, Version: ch.Version, Address: ch.Address,
		Ready: ch.Connected && !ch.Offer.GetDraining(), Nodes: int(ch.Offer.GetNodes()), Instances: ch.Running,
		Capacity: resourcesView(ch.Offer.GetCapacity()), Free: resourcesView(ch.Offer.GetFree()),
		LastSeen: ch.LastSeen, AgeSeconds: now.Sub(ch.LastSeen).Seconds(),
	}
	if ch.Connected {
		v.LastSeen, v.AgeSeconds = now, now.Sub(ch.OfferAt).Seconds()
	}
	return v
}

func nodeView(n *pb.Node) api.Node {
	v := api.Node{
		ID: n.GetId(), Name: n.GetName(), Ready: n.GetReady(), Version: n.GetVersion(), Address: n.GetAddress(),
		Runtimes: []api.Runtime{}, Labels: n.GetLabels(), Instances: int(n.GetOffer().GetInstances()),
		Capacity: resourcesView(n.GetOffer().GetCapacity()), Free: resourcesView(n.GetOffer().GetFree()),
		LastSeen: n.GetLastSeen().AsTime(), Report: n.GetReport(),
	}
	if fits := n.GetOffer().GetFits(); len(fits) > 0 {
		v.Arch = fits[0].GetArch()
		for _, t := range fits[0].GetTaints() {
			v.Taints = append(v.Taints, api.Taint{Key: t.GetKey(), Value: t.GetValue(), Effect: t.GetEffect()})
		}
		for _, d := range fits[0].GetDevices() {
			v.Devices = append(v.Devices, api.Devices{
				Kind: d.GetKind(), Vendor: d.GetVendor(), Model: d.GetModel(), MemoryBytes: d.GetMemoryBytes(),
				Count: int(d.GetCount()), Shared: d.GetShared(), Names: d.GetNames(),
			})
		}
	}
	for _, r := range n.GetRuntimes() {
		v.Runtimes = append(v.Runtimes, api.Runtime{
			Name: r.GetName(), Usable: r.GetUsable(), Version: r.GetVersion(), Endpoint: r.GetEndpoint(),
			Features: r.GetFeatures(), Reason: r.GetReason(), Remedy: r.GetRemedy(),
		})
	}
	if u := n.GetUsage(); u != nil {
		v.Usage = &api.Usage{
			CPUMillis: int64(u.GetCpuMillis()), MemoryBytes: int64(u.GetMemoryBytes()), DiskBytes: int64(u.GetDiskBytes()),
			AgeSeconds: float64(u.GetAgeMs()) / 1000,
		}
	}
	return v
}

func resourcesView(r *pb.Resources) api.Resources {
	return api.Resources{CPUMillis: r.GetCpuMillis(), MemoryBytes: r.GetMemoryBytes(), DiskBytes: r.GetDiskBytes()}
}
