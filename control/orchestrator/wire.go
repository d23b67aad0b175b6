package orchestrator

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
)

// What follows translates between records and messages, and nothing else.

func changeFromProto(ch *pb.Change) Change {
	out := Change{
		State: job.State(ch.GetState()), Reason: shorten(ch.GetReason()),
		Rejections: limitRejections(rejectionsFromProto(ch.GetRejections())),
	}
	if ch.GetTime().IsValid() {
		out.Time = ch.GetTime().AsTime()
	}
	if e := ch.GetExit(); e != nil {
		out.Exit = &Exit{Code: int(e.GetCode()), OOMKilled: e.GetOomKilled(), Lost: e.GetLost()}
	}
	return out
}

func changeToProto(ch Change) *pb.Change {
	return &pb.Change{
		Seq: ch.Seq, Time: timestamppb.New(ch.Time), State: string(ch.State), Reason: ch.Reason,
		Exit: exitToProto(ch.Exit), Rejections: rejectionsToProto(ch.Rejections),
	}
}

func exitToProto(e *Exit) *pb.Exit {
	if e == nil {
		return nil
	}
	return &pb.Exit{Code: int32(e.Code), OomKilled: e.OOMKilled, Lost: e.Lost}
}

// statusToProto is the report on an instance to the parent that gave it.
// Called with mu held.
func (c *Core) statusToProto(in *Instance) *pb.InstanceStatus {
	st := &pb.InstanceStatus{
		InstanceId: in.ID, Generation: in.ParentGeneration, Incarnation: in.Incarnation, State: string(in.State),
		NodeId: in.NodeID, NodeName: in.NodeName, Restarts: in.Restarts, Exit: exitToProto(in.Exit), Progress: c.progress[in.ID],
	}
	for _, ch := range in.Outbox {
		st.Changes = append(st.Changes, changeToProto(ch))
	}
	for _, e := range in.Endpoints {
		st.Endpoints = append(st.Endpoints, &pb.Endpoint{
			Name: e.Name, Protocol: e.Protocol, Port: e.Port, HostPort: e.HostPort, Addresses: e.Addresses,
		})
	}
	return st
}

func endpointsFromProto(in []*pb.Endpoint) []Endpoint {
	var out []Endpoint
	for _, e := range in {
		out = append(out, Endpoint{e.GetName(), e.GetProtocol(), e.GetPort(), e.GetHostPort(), e.GetAddresses()})
	}
	return out
}

func rejectionsFromProto(in []*pb.Rejection) []Rejection {
	var out []Rejection
	for _, r := range in {
		out = append(out, Rejection{r.GetKind(), r.GetId(), r.GetName(), r.GetReason(), rejectionsFromProto(r.GetNested())})
	}
	return out
}

func rejectionsToProto(in []Rejection) []*pb.Rejection {
	var out []*pb.Rejection
	for _, r := range in {
		out = append(out, &pb.Rejection{Kind: r.Kind, Id: r.ID, Name: r.Name, Reason: r.Reason, Nested: rejectionsToProto(r.Nested)})
	}
	return out
}

func assignmentToProto(in *Instance) *pb.Assignment {
	return &pb.Assignment{InstanceId: in.ID, Generation: in.Generation, JobId: in.JobID, Index: in.Index, Job: in.Spec, Ended: in.State.Ended()}
}

func keys(m map[string]struct{}) []string { return slices.Sorted(maps.Keys(m)) }
