// Package apitest has a backend of the API that lives in memory, for tests of
// the handlers and of edgectl. It does what the contract of server.Backend
// says, for a small fixed fleet: a job named "fails" fails, one with runtime
// lxc is not deployable, every other one runs at once.
package apitest

import (
	"bufio"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/server"
	"github.com/edgeio/edgeio/proto/job"
)

// Token is the token that is good; Viewer's has a role that may do nothing yet.
const (
	Token  = "edgeio_test_secret"
	Viewer = "edgeio_test_viewer"
)

// Epoch is when the fake's time begins; every event takes a second.
var Epoch = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// Fake is the backend. It is safe for concurrent use.
type Fake struct {
	// Log is what every instance has written.
	Log []api.LogEntry
	// LogError ends logs after Log, if it is set.
	LogError error
	// Panic makes List panic.
	Panic bool

	mu      sync.Mutex
	jobs    []*api.Job // oldest first
	keys    map[string]string
	events  []api.Event
	changed chan struct{} // closed and replaced at each event
	tokens  []api.APIToken
	joins   []api.JoinToken
}

// New makes a fake without jobs.
func New() *Fake {
	return &Fake{keys: map[string]string{}, changed: make(chan struct{}), Log: []api.LogEntry{
		{Time: Epoch, Stream: "stdout", Data: []byte("hello\n")},
		{Time: Epoch.Add(time.Second), Stream: "stderr", Data: []byte("oh\n")},
		{Time: Epoch.Add(2 * time.Second), Stream: "stdout", Data: []byte("bye\n")},
	}}
}

// Backend is the fake as the handlers want it.
func (f *Fake) Backend() server.Backend {
	return server.Backend{Jobs: f, Instances: f, Events: f, Fleet: f, Tokens: f, Auth: f}
}

// Authenticate knows two tokens.
func (f *Fake) Authenticate(_ context.Context, token string) (server.Identity, error) {
	switch {
	case subtle.ConstantTimeCompare([]byte(token), []byte(Token)) == 1:
		return server.Identity{TokenID: "t1", Name: "alice", Role: api.RoleAdmin}, nil
	case subtle.ConstantTimeCompare([]byte(token), []byte(Viewer)) == 1:
		return server.Identity{TokenID: "t2", Name: "victor", Role: "viewer"}, nil
	}
	return server.Identity{}, fmt.Errorf("%w: no such token", api.ErrUnauthenticated)
}

// Deploy places a job at once.
func (f *Fake) Deploy(_ context.Context, d server.Deployment) (api.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := d.Owner + "/" + d.IdempotencyKey
	if id, ok := f.keys[key]; ok && d.IdempotencyKey != "" {
		j := f.jobs[slices.IndexFunc(f.jobs, func(j *api.Job) bool { return j.ID == id })]
		if !reflect.DeepEqual(j.Spec, d.Job) {
			return api.Job{}, fmt.Errorf("%w: the idempotency key was used for another job", api.ErrConflict)
		}
		return f.copy(j), nil
	}
	id := fmt.Sprintf("job%04d", len(f.jobs)+1)
	j := &api.Job{
		ID: id, Name: d.Job.Name, Desired: api.DesiredRunning, Owner: d.Owner, Spec: d.Job, CreatedAt: f.now(),
		Instances: []api.Instance{{ID: id + "-0", Generation: 1}},
	}
	f.jobs = append(f.jobs, j)
	f.keys[key] = id
	f.move(j, job.Requested, "")
	if d.Job.Runtime == "lxc" {
		j.Instances[0].Rejections = f.reject()
		f.move(j, job.NotDeployable, "no cluster takes it")
		return f.copy(j), nil
	}
	j.Instances[0].Cluster, j.Instances[0].Node = api.Ref{ID: "c1", Name: "garching"}, api.Ref{ID: "n1", Name: "e580"}
	f.move(j, job.ScheduledCluster, "first fit")
	f.move(j, job.ScheduledNode, "first fit")
	f.move(j, job.Running, "")
	if d.Job.Name == "fails" {
		j.Instances[0].Exit = &api.Exit{Code: 3}
		f.move(j, job.Failed, "exit code 3")
	}
	return f.copy(j), nil
}

func (f *Fake) reject() []api.Rejection {
	return []api.Rejection{{Kind: "cluster", ID: "c1", Name: "garching", Reason: "none of its 1 nodes takes it", Nested: []api.Rejection{
		{Kind: "node", ID: "n1", Name: "e580", Reason: "no runtime lxc"},
	}}}
}

// now is the time of the next event.
func (f *Fake) now() time.Time { return Epoch.Add(time.Duration(len(f.events)) * time.Second) }

// move changes the state of a job's one instance and tells of it.
func (f *Fake) move(j *api.Job, s job.State, reason string) {
	in := &j.Instances[0]
	in.State, in.Reason, in.Since = s, reason, f.now()
	ev := api.Event{
		Revision: uint64(len(f.events)+1) * 10, Time: f.now(), JobID: j.ID, JobName: j.Name, InstanceID: in.ID,
		State: s, Reason: reason, Cluster: in.Cluster.Name, Node: in.Node.Name,
	}
	in.History = append(in.History, api.Change{Revision: ev.Revision, Time: ev.Time, State: s, Reason: reason})
	j.State, j.UpdatedAt = api.RollUp(j.Desired, j.Instances), ev.Time
	f.events = append(f.events, ev)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Fake) copy(j *api.Job) api.Job {
	c := *j
	c.Instances = slices.Clone(j.Instances)
	for i := range c.Instances {
		c.Instances[i].History = slices.Clone(c.Instances[i].History)
	}
	return c
}

func (f *Fake) find(ref string) (*api.Job, error) {
	return api.Resolve("job", ref, f.jobs,
		func(j *api.Job) (id, name string) { return j.ID, j.Name },
		func(j *api.Job) bool { return j.Desired == api.DesiredRunning })
}

// Job returns a job.
func (f *Fake) Job(_ context.Context, ref string) (api.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, err := f.find(ref)
	if err != nil {
		return api.Job{}, err
	}
	return f.copy(j), nil
}

// List lists jobs.
func (f *Fake) List(_ context.Context, flt server.JobFilter) ([]api.Job, error) {
	if f.Panic {
		panic("secret detail")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var l []api.Job
	for _, j := range slices.Backward(f.jobs) {
		if (len(flt.States) == 0 || slices.Contains(flt.States, j.State)) && (flt.Name == "" || flt.Name == j.Name) {
			l = append(l, f.copy(j))
		}
	}
	return l, nil
}

// Terminate ends a job at once.
func (f *Fake) Terminate(_ context.Context, ref string) (api.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, err := f.find(ref)
	if err != nil {
		return api.Job{}, err
	}
	if j.Desired != api.DesiredTerminated {
		j.Desired = api.DesiredTerminated
		f.move(j, job.Terminated, "terminated by "+j.Owner)
	}
	return f.copy(j), nil
}

// Explain lets node e580 take all but lxc.
func (f *Fake) Explain(_ context.Context, j job.Job) (api.Explanation, error) {
	if j.Runtime == "lxc" {
		return api.Explanation{Rejections: f.reject()}, nil
	}
	return api.Explanation{Accepting: []string{"e580"}}, nil
}

// Logs plays Log; with Follow it then waits for the end of ctx unless LogError is set.
func (f *Fake) Logs(ctx context.Context, _ string, o server.LogOptions, yield func(api.LogEntry) error) error {
	l := f.Log
	if o.Tail >= 0 && o.Tail < len(l) {
		l = l[len(l)-o.Tail:]
	}
	for _, e := range l {
		if e.Time.Before(o.Since) {
			continue
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	if f.LogError != nil {
		return f.LogError
	}
	if o.Follow {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// Exec knows the commands cat, echo, env, exit7, size and hang.
func (f *Fake) Exec(ctx context.Context, _ string, o server.ExecOptions) (int, error) {
	switch o.Command[0] {
	case "cat":
		_, err := io.Copy(o.Stdout, o.Stdin)
		return 0, err
	case "echo":
		fmt.Fprintln(o.Stdout, strings.Join(o.Command[1:], " "))
		fmt.Fprintln(o.Stderr, "tty", o.TTY)
		return 0, nil
	case "env":
		return 0, json.NewEncoder(o.Stdout).Encode(o.Env)
	case "exit7":
		return 7, nil
	case "size":
		fmt.Fprintln(o.Stdout, o.Size.Columns, o.Size.Rows)
		select {
		case s := <-o.Resize:
			fmt.Fprintln(o.Stdout, s.Columns, s.Rows)
		case <-ctx.Done():
		}
		return 0, nil
	case "line": // reads a line, leaves the rest
		l, err := bufio.NewReader(o.Stdin).ReadString('\n')
		fmt.Fprint(o.Stdout, l)
		return 0, err
	case "hang":
		fmt.Fprintln(o.Stdout, "hanging")
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 0, fmt.Errorf("%w: no command %s in the workload", api.ErrInvalid, o.Command[0])
}

// Watch plays what is stored, then what comes.
func (f *Fake) Watch(ctx context.Context, q server.EventQuery, yield func(api.Event) error) error {
	f.mu.Lock()
	next := 0
	if q.NewOnly {
		next = len(f.events)
	}
	f.mu.Unlock()
	for {
		f.mu.Lock()
		batch, changed := f.events[next:len(f.events):len(f.events)], f.changed
		next = len(f.events)
		f.mu.Unlock()
		for _, ev := range batch {
			if ev.Revision <= q.After && !q.NewOnly || q.JobID != "" && ev.JobID != q.JobID {
				continue
			}
			if err := yield(ev); err != nil {
				return err
			}
		}
		if !q.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
