package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/edgeio/edgeio/control/api"
)

type nodesInput struct {
	Cluster string `query:"cluster" maxLength:"128" doc:"Only the nodes of this cluster: its id or name"`
}

type fleetRef struct {
	ID string `path:"id" maxLength:"128" doc:"Its id, its name if only one has it, or the unique beginning of its id"`
}

func (s *service) registerFleet(h huma.API) {
	tags := []string{"fleet"}
	huma.Register(h, op(huma.Operation{
		OperationID: "list-clusters", Method: http.MethodGet, Path: "/clusters", Tags: tags, Summary: "List clusters",
	}), func(ctx context.Context, _ *struct{}) (*output[api.ClusterList], error) {
		l, err := s.Fleet.Clusters(ctx)
		return reply(ctx, s, api.ClusterList{Clusters: list(l)}, err)
	})
	huma.Register(h, op(huma.Operation{
		OperationID: "get-cluster", Method: http.MethodGet, Path: "/clusters/{id}", Tags: tags, Summary: "Show a cluster",
	}), func(ctx context.Context, in *fleetRef) (*output[api.Cluster], error) {
		c, err := s.Fleet.Cluster(ctx, in.ID)
		return reply(ctx, s, c, err)
	})
	huma.Register(h, op(huma.Operation{
		OperationID: "list-nodes", Method: http.MethodGet, Path: "/nodes", Tags: tags, Summary: "List nodes",
		Description: "Without what each node reports of its hardware.",
	}), func(ctx context.Context, in *nodesInput) (*output[api.NodeList], error) {
		l, err := s.Fleet.Nodes(ctx, NodeFilter{Cluster: in.Cluster})
		for i := range l {
			l[i] = presentNode(l[i])
		}
		return reply(ctx, s, api.NodeList{Nodes: list(l)}, err)
	})
	huma.Register(h, op(huma.Operation{
		OperationID: "get-node", Method: http.MethodGet, Path: "/nodes/{id}", Tags: tags, Summary: "Show a node with its hardware",
	}), func(ctx context.Context, in *fleetRef) (*output[api.Node], error) {
		n, err := s.Fleet.Node(ctx, in.ID)
		return reply(ctx, s, presentNode(n), err)
	})
}

func presentNode(n api.Node) api.Node {
	n.Runtimes = list(n.Runtimes)
	return n
}

// list makes a list empty rather than null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
