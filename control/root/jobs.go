package root

import (
	"context"
	"io"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/server"
	"github.com/edgeio/edgeio/control/orchestrator"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
)

// jobs serves the parts of the API that are about jobs from the core.
type jobs struct{ core *orchestrator.Core }

var (
	_ server.Jobs      = jobs{}
	_ server.Instances = jobs{}
	_ server.Events    = jobs{}
)

func (s jobs) Deploy(ctx context.Context, d server.Deployment) (api.Job, error) {
	j, err := s.core.Deploy(ctx, &d.Job, d.Owner, d.IdempotencyKey)
	if err != nil {
		return api.Job{}, err
	}
	return s.view(ctx, j)
}

func (s jobs) Job(ctx context.Context, ref string) (api.Job, error) {
	j, err := s.resolve(ref)
	if err != nil {
		return api.Job{}, err
	}
	return s.view(ctx, j)
}

func (s jobs) List(_ context.Context, f server.JobFilter) ([]api.Job, error) {
	out := []api.Job{}
	for _, j := range s.core.Jobs() {
		v := s.summary(j)
		if (f.Name == "" || v.Name == f.Name) && (len(f.States) == 0 || slices.Contains(f.States, v.State)) {
			out = append(out, v)
		}
	}
	return out, nil
}

func (s jobs) Terminate(ctx context.Context, ref string) (api.Job, error) {
	j, err := s.resolve(ref)
	if err != nil {
		return api.Job{}, err
	}
	if j, err = s.core.Terminate(ctx, j.ID); err != nil {
		return api.Job{}, err
	}
	return s.view(ctx, j)
}

func (s jobs) Explain(ctx context.Context, j job.Job) (api.Explanation, error) {
	accepting, rejections, err := s.core.Explain(ctx, &j)
	if err != nil {
		return api.Explanation{}, err
	}
	if accepting == nil {
		accepting = []string{}
	}
	out := api.Explanation{Accepting: accepting, Rejections: rejectionViews(rejections)}
	if out.Rejections == nil {
		out.Rejections = []api.Rejection{}
	}
	return out, nil
}

func (s jobs) resolve(ref string) (*orchestrator.Job, error) {
	if j := s.core.Job(ref); j != nil {
		return j, nil // without a look at all the others
	}
	return api.Resolve("job", ref, s.core.Jobs(),
		func(j *orchestrator.Job) (string, string) { return j.ID, j.Name },
		func(j *orchestrator.Job) bool { return j.Desired == orchestrator.DesiredRunning })
}

// view is a job with the history of its instances.
func (s jobs) view(ctx context.Context, j *orchestrator.Job) (api.Job, error) {
	v := s.summary(j)
	events, err := s.core.History(ctx, j.ID)
	if err != nil {
		return v, err
	}
	for _, ev := range events {
		i := slices.IndexFunc(v.Instances, func(in api.Instance) bool { return in.ID == ev.InstanceID })
		if i >= 0 {
			v.Instances[i].History = append(v.Instances[i].History,
				api.Change{Revision: ev.Revision, Time: ev.Time, State: ev.State, Reason: ev.Reason})
		}
	}
	return v, nil
}

// summary is a job without history.
func (s jobs) summary(j *orchestrator.Job) api.Job {
	v := api.Job{
		ID: j.ID, Name: j.Name, Desired: api.Desired(j.Desired), Owner: j.Owner,
		CreatedAt: j.CreatedAt, UpdatedAt: j.CreatedAt, Spec: *j.Job(), Instances: []api.Instance{},
	}
	for _, in := range s.core.InstancesOf(j.ID) {
		v.Instances = append(v.Instances, s.instanceView(in))
		if in.Since.After(v.UpdatedAt) {
			v.UpdatedAt = in.Since
		}
	}
	v.State = api.RollUp(v.Desired, v.Instances)
	return v
}

func (s jobs) instanceView(in *orchestrator.Instance) api.Instance {
	v := api.Instance{
		ID: in.ID, Index: int(in.Index), State: in.State, Reason: in.Reason, Since: in.Since, Generation: in.Generation,
		Restarts: int(in.Restarts), Cluster: s.clusterRef(in.ChildID), Node: api.Ref{ID: in.NodeID, Name: in.NodeName},
		Rejections: rejectionViews(in.Rejections), History: []api.Change{},
	}
	for _, e := range in.Endpoints {
		v.Endpoints = append(v.Endpoints, api.Endpoint{
			Name: e.Name, Protocol: e.Protocol, Port: int(e.Port), HostPort: int(e.HostPort), Addresses: e.Addresses,
		})
	}
	if in.Exit != nil {
		v.Exit = &api.Exit{Code: in.Exit.Code, OOMKilled: in.Exit.OOMKilled, Lost: in.Exit.Lost}
	}
	if p := s.core.Progress(in.ID); p != nil {
		v.Progress = &api.Progress{Phase: p.GetPhase(), Current: p.GetCurrent(), Total: p.GetTotal()}
	}
	return v
}

// clusterRef is how a cluster is shown. Nodes that are attached to the root are
// in no cluster.
func (s jobs) clusterRef(childID string) api.Ref {
	if ch := s.core.Child(childID); ch != nil && ch.Kind == kindCluster {
		return api.Ref{ID: ch.ID, Name: ch.Name}
	}
	return api.Ref{}
}

func rejectionViews(in []orchestrator.Rejection) []api.Rejection {
	var out []api.Rejection
	for _, r := range in {
		out = append(out, api.Rejection{Kind: r.Kind, ID: r.ID, Name: r.Name, Reason: r.Reason, Nested: rejectionViews(r.Nested)})
	}
	return out
}

func (s jobs) Watch(ctx context.Context, q server.EventQuery, yield func(api.Event) error) error {
	query := orchestrator.EventQuery{JobID: q.JobID, After: q.After, NewOnly: q.NewOnly, Follow: q.Follow}
	return s.core.Watch(ctx, query, func(ev orchestrator.Event) error {
		return yield(api.Event{
			Revision: ev.Revision, Time: ev.Time, JobID: ev.JobID, JobName: ev.JobName, InstanceID: ev.InstanceID,
			State: ev.State, Reason: ev.Reason, Cluster: ev.ChildName, Node: ev.NodeName,
		})
	})
}

func (s jobs) Logs(ctx context.Context, instanceID string, o server.LogOptions, yield func(api.LogEntry) error) error {
	req := &pb.LogsRequest{InstanceId: instanceID, Follow: o.Follow, Tail: int32(o.Tail)}
	if !o.Since.IsZero() {
		req.Since = timestamppb.New(o.Since)
	}
	return s.core.Logs(ctx, req, func(c *pb.LogChunk) error {
		return yield(api.LogEntry{Time: c.GetTime().AsTime(), Stream: c.GetStream(), Data: c.GetData()})
	})
}

// execChunk bounds one message of input.
const execChunk = 32 << 10

func (s jobs) Exec(ctx context.Context, instanceID string, o server.ExecOptions) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := &pb.ExecInput{Start: &pb.ExecStart{InstanceId: instanceID, Command: o.Command, Env: o.Env, Tty: o.TTY}}
	if o.TTY {
		start.Start.Size = sizeMessage(o.Size)
	}
	messages := make(chan *pb.ExecInput)
	go readInput(ctx, o.Stdin, messages)
	input := func() (*pb.ExecInput, error) {
		for {
			select {
			case <-ctx.Done():
				return nil, io.EOF
			case m := <-messages:
				return m, nil
			case size, ok := <-o.Resize:
				if !ok {
					o.Resize = nil
					continue
				}
				return &pb.ExecInput{Size: sizeMessage(size)}, nil
			}
		}
	}
	code := -1
	err := s.core.Exec(ctx, start, input, func(out *pb.ExecOutput) error {
		if len(out.GetStdout()) > 0 {
			if _, err := o.Stdout.Write(out.GetStdout()); err != nil {
				return err
			}
		}
		if len(out.GetStderr()) > 0 {
			if _, err := o.Stderr.Write(out.GetStderr()); err != nil {
				return err
			}
		}
		code = int(out.GetExitCode())
		return nil
	})
	return code, err
}

func sizeMessage(s api.TermSize) *pb.TermSize {
	return &pb.TermSize{Columns: s.Columns, Rows: s.Rows}
}

// readInput makes messages of a stream until its end or that of the context.
func readInput(ctx context.Context, r io.Reader, to chan<- *pb.ExecInput) {
	buf := make([]byte, execChunk)
	for {
		n, err := r.Read(buf)
		m := &pb.ExecInput{Stdin: slices.Clone(buf[:n]), StdinEof: err != nil}
		if n > 0 || err != nil {
			select {
			case to <- m:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}
