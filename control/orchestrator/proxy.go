package orchestrator

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edgeio/edgeio/control/scheduler"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/link"
)

// childClient returns the way to call a connected child.
func (c *Core) childClient(childID string) (pb.DRPCChildClient, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if l := c.live[childID]; l != nil {
		return pb.NewDRPCChildClient(l.session.link.Conn()), nil
	}
	name := childID
	if ch := c.children.records[childID]; ch != nil {
		name = ch.Kind + " " + ch.Name
	}
	return nil, link.Error(link.Unavailable, "%s is not connected", name)
}

// heldTimeout is how long a question about an instance waits for the child to
// have heard of it.
const heldTimeout = 5 * time.Second

// holderOf returns the way to call the child that has an instance. A child that
// is being given it at this very moment is waited for: users ask for the output
// of what they have just deployed.
func (c *Core) holderOf(ctx context.Context, instanceID string) (pb.DRPCChildClient, error) {
	timeout := time.NewTimer(heldTimeout)
	defer timeout.Stop()
	for {
		in := c.Instance(instanceID)
		if in == nil {
			return nil, link.Error(link.NotFound, "there is no instance %s", instanceID)
		}
		if in.ChildID == "" {
			return nil, link.Error(link.Conflict, "instance %s is on no node: it is %s", instanceID, in.State)
		}
		told := c.untold(in)
		if told == nil {
			return c.childClient(in.ChildID)
		}
		select {
		case <-told:
		case <-timeout.C:
			return c.childClient(in.ChildID)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// untold returns a channel that is closed when more is known, if the child of an
// instance is connected but has not confirmed it yet; else nil.
func (c *Core) untold(in *Instance) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.live[in.ChildID]
	if l == nil || l.unacked[in.ID] == nil {
		return nil
	}
	if l.told == nil {
		l.told = make(chan struct{})
	}
	return l.told
}

// Logs passes the output of an instance on from the node that has it.
func (c *Core) Logs(ctx context.Context, req *pb.LogsRequest, yield func(*pb.LogChunk) error) error {
	client, err := c.holderOf(ctx, req.GetInstanceId())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Logs(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := yield(chunk); err != nil {
			return err
		}
	}
}

// Exec runs a command in an instance: input, whose first message is start, is
// passed on to the node, and output back, the exit code last. It returns when
// the command has ended; input may still block then.
func (c *Core) Exec(ctx context.Context, start *pb.ExecInput, input func() (*pb.ExecInput, error), output func(*pb.ExecOutput) error) error {
	client, err := c.holderOf(ctx, start.GetStart().GetInstanceId())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Exec(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if err := stream.Send(start); err != nil {
		return err
	}
	go func() {
		for {
			in, err := input()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					cancel()
				}
				return
			}
			if stream.Send(in) != nil {
				return
			}
		}
	}()
	for {
		out, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = link.Error(link.Unavailable, "exec: the node ended it without an exit code")
			}
			return err
		}
		if err := output(out); err != nil {
			return err
		}
		if out.GetExited() {
			return nil
		}
	}
}

// nodesTimeout is how long clusters have to list their nodes.
const nodesTimeout = 3 * time.Second

// NodesBelow is what one cluster, or this orchestrator itself, has in nodes.
type NodesBelow struct {
	ClusterID   string // empty: attached here
	ClusterName string
	Nodes       []*pb.Node
	Err         error // the cluster did not answer
}

// Nodes lists the nodes below, those of clusters by asking them.
func (c *Core) Nodes(ctx context.Context, req *pb.ListNodesRequest) []NodesBelow {
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	here := NodesBelow{}
	var clusters []ChildView
	for _, ch := range c.Children() {
		switch {
		case ch.Kind != string(scheduler.Node):
			clusters = append(clusters, ch)
		case req.GetNode() == "" || req.GetNode() == ch.ID || strings.EqualFold(req.GetNode(), ch.Name):
			here.Nodes = append(here.Nodes, nodeToProto(ch, req.GetWithReport(), c.cfg.Now()))
		}
	}
	out := make([]NodesBelow, len(clusters))
	var wait sync.WaitGroup
	for i, ch := range clusters {
		wait.Go(func() {
			out[i] = NodesBelow{ClusterID: ch.ID, ClusterName: ch.Name}
			client, err := c.childClient(ch.ID)
			if err == nil {
				var resp *pb.ListNodesResponse
				resp, err = client.ListNodes(ctx, req)
				out[i].Nodes = resp.GetNodes()
			}
			out[i].Err = err
		})
	}
	wait.Wait()
	return slices.Concat([]NodesBelow{here}, out)
}

func nodeToProto(ch ChildView, withReport bool, now time.Time) *pb.Node {
	n := &pb.Node{
		Id: ch.ID, Name: ch.Name, Version: ch.Version, Ready: ch.Connected && !ch.Offer.GetDraining(), Address: ch.Address,
		LastSeen: timestamppb.New(ch.LastSeen), Labels: ch.Labels, Runtimes: ch.Runtimes, Offer: ch.Offer, BootId: ch.BootID,
	}
	if ch.Connected {
		n.LastSeen = timestamppb.New(now)
	}
	if withReport {
		n.Report = ch.Report
	}
	if ch.Usage != nil {
		n.Usage = &pb.UsageSample{
			Sequence: ch.Usage.GetSequence(), CpuMillis: ch.Usage.GetCpuMillis(), MemoryBytes: ch.Usage.GetMemoryBytes(),
			DiskBytes: ch.Usage.GetDiskBytes(), AgeMs: ch.Usage.GetAgeMs() + uint32(now.Sub(ch.UsageAt).Milliseconds()),
		}
	}
	return n
}
