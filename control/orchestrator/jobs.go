package orchestrator

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgeio/edgeio/control/scheduler"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// Deploy stores a job, which is valid and normalized, and places its
// instances. A second call with the same non-empty idempotency key and owner
// returns the first job.
func (c *Core) Deploy(ctx context.Context, j *job.Job, owner, idempotencyKey string) (*Job, error) {
	spec, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("deploy %s: %w", j.Name, err)
	}
	var stored *Job
	err = c.do(ctx, func(tx *txn) error {
		if old := tx.deployedBefore(owner, idempotencyKey); old != nil {
			if !bytes.Equal(old.Spec, spec) {
				return link.Error(link.Conflict, "deploy %s: the idempotency key was used for another job, %s", j.Name, old.ID)
			}
			stored = old
			return nil
		}
		stored = &Job{
			ID: tx.newJobID(), Name: j.Name, Spec: spec, Desired: DesiredRunning,
			Owner: owner, IdempotencyKey: idempotencyKey, CreatedAt: tx.now,
			parsed: j,
		}
		tx.setJob(stored)
		for i := range max(j.Replicas, 1) {
			in := &Instance{
				ID: fmt.Sprintf("%s-%d", stored.ID, i), JobID: stored.ID, Index: uint32(i),
				Spec: spec, Desired: DesiredRunning, parsed: j,
			}
			if err := tx.move(in, Change{State: job.Requested}); err != nil {
				return err
			}
			if err := tx.place(in); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

// keyLife is how long an idempotency key counts.
const keyLife = 24 * time.Hour

// deployedBefore returns the job that was deployed under a key, or nil.
func (tx *txn) deployedBefore(owner, key string) *Job {
	if key == "" {
		return nil
	}
	j := tx.c.jobs.get(tx.c.byKey[ownedKey{owner, key}])
	// What this very batch has made is not in the index yet.
	for id := range tx.c.jobs.changed() {
		if made := tx.c.jobs.get(id); made != nil && made.Owner == owner && made.IdempotencyKey == key {
			j = made
		}
	}
	if j == nil || tx.now.Sub(j.CreatedAt) > keyLife {
		return nil
	}
	return j
}

// ownedKey is an idempotency key and whose it is.
type ownedKey struct{ owner, key string }

// indexJob keeps the index of keys in step with a job. Called with mu held.
func (c *Core) indexJob(old, j *Job) {
	switch {
	case j != nil && j.IdempotencyKey != "":
		k := ownedKey{j.Owner, j.IdempotencyKey}
		if latest := c.jobs.get(c.byKey[k]); latest == nil || !latest.CreatedAt.After(j.CreatedAt) {
			c.byKey[k] = j.ID
		}
	case j == nil && old != nil && c.byKey[ownedKey{old.Owner, old.IdempotencyKey}] == old.ID:
		delete(c.byKey, ownedKey{old.Owner, old.IdempotencyKey})
	}
}

const (
	// keepTerminated is how long jobs are kept, with their history, after they
	// have been terminated.
	keepTerminated = 7 * 24 * time.Hour
	sweepInterval  = time.Hour
	maxSwept       = 1000 // jobs at a time
)

// sweep forgets jobs that have been terminated long ago.
func (tx *txn) sweep() {
	swept := 0
	for id, j := range tx.c.jobs.records {
		if swept == maxSwept {
			return
		}
		instances := tx.instancesOf(id)
		if j.Desired != DesiredTerminated || tx.now.Sub(j.CreatedAt) < keepTerminated ||
			slices.ContainsFunc(instances, func(in *Instance) bool {
				return in.State != job.Terminated || tx.now.Sub(in.Since) < keepTerminated
			}) {
			continue
		}
		for _, in := range instances {
			tx.deleteInstance(in.ID)
		}
		set(tx, tx.c.jobs, id, nil)
		swept++
	}
}

// newJobID returns 13 letters and digits: 65 random bits.
func (tx *txn) newJobID() string {
	for {
		id := strings.ToLower(rand.Text()[:13])
		if tx.c.jobs.get(id) == nil {
			return id
		}
	}
}

// Terminate makes "terminated" what is wanted of a job.
func (c *Core) Terminate(ctx context.Context, jobID string) (*Job, error) {
	var stored *Job
	err := c.do(ctx, func(tx *txn) error {
		old := c.jobs.get(jobID)
		if old == nil {
			return link.Error(link.NotFound, "there is no job %s", jobID)
		}
		stored = old
		if old.Desired == DesiredTerminated {
			return nil
		}
		next := *old
		next.Desired = DesiredTerminated
		stored = &next
		tx.setJob(stored)
		for _, in := range tx.instancesOf(jobID) {
			if err := tx.terminate(in, "terminated by the user"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

func (tx *txn) instancesOf(jobID string) []*Instance {
	var out []*Instance
	for id := range tx.c.byJob[jobID] {
		if in := tx.c.instances.get(id); in != nil {
			out = append(out, in)
		}
	}
	// What this very batch has made is not in the index yet.
	for id := range tx.c.instances.changed() {
		in := tx.c.instances.get(id)
		if _, indexed := tx.c.byJob[jobID][id]; in != nil && in.JobID == jobID && !indexed {
			out = append(out, in)
		}
	}
	slices.SortFunc(out, func(a, b *Instance) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// terminate wants an instance to end. One that nobody has ends here and now;
// of the others the child reports it.
func (tx *txn) terminate(in *Instance, reason string) error {
	if in.State == job.Terminated {
		return nil
	}
	next := *in
	next.Desired = DesiredTerminated
	if next.ChildID == "" {
		return tx.terminated(&next, reason)
	}
	tx.setInstance(&next)
	return nil
}

// Job returns a job, or nil.
func (c *Core) Job(id string) *Job {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.jobs.records[id]
}

// Jobs returns all jobs, newest first.
func (c *Core) Jobs() []*Job {
	c.mu.RLock()
	out := make([]*Job, 0, len(c.jobs.records))
	for _, j := range c.jobs.records {
		out = append(out, j)
	}
	c.mu.RUnlock()
	slices.SortFunc(out, func(a, b *Job) int {
		if d := b.CreatedAt.Compare(a.CreatedAt); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Instance returns an instance, or nil.
func (c *Core) Instance(id string) *Instance {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.instances.records[id]
}

// InstancesOf returns the instances of a job by index.
func (c *Core) InstancesOf(jobID string) []*Instance {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*Instance, 0, len(c.byJob[jobID]))
	for id := range c.byJob[jobID] {
		out = append(out, c.instances.records[id])
	}
	slices.SortFunc(out, func(a, b *Instance) int { return int(a.Index) - int(b.Index) })
	return out
}

// Explain says who below would take the job now, by name, and why each of the
// others would not. Clusters are asked for their nodes' reasons.
func (c *Core) Explain(ctx context.Context, j *job.Job) (accepting []string, rejections []Rejection, err error) {
	spec, err := json.Marshal(j)
	if err != nil {
		return nil, nil, fmt.Errorf("explain %s: %w", j.Name, err)
	}
	tx := &txn{c: c}
	takers, rejected := scheduler.Filter(tx.placementJob(j), c.buildCandidates())
	all := tx.withNested(&Instance{}, rejected)
	// A cluster that would take it still has nodes that would not.
	for _, t := range takers {
		if t.Kind == scheduler.Node {
			accepting = append(accepting, t.Name)
			continue
		}
		all = append(all, Rejection{Kind: string(t.Kind), ID: t.ID, Name: t.Name})
	}
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	accepting = append(accepting, c.askClusters(ctx, spec, all)...)
	slices.Sort(accepting)
	for i, r := range all {
		if r.Reason == "" && len(r.Nested) > 0 {
			all[i].Reason = "some of its nodes cannot take it"
		}
	}
	return accepting, slices.DeleteFunc(all, func(r Rejection) bool { return r.Reason == "" }), nil
}

// ExplainBelow answers the parent's Explain.
func (c *Core) ExplainBelow(ctx context.Context, req *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	j, err := job.Decode(req.GetJob())
	if err != nil {
		return nil, link.Error(link.Invalid, "explain: %w", err)
	}
	accepting, rejections, err := c.Explain(ctx, j)
	if err != nil {
		return nil, err
	}
	return &pb.ExplainResponse{Accepting: accepting, Rejections: rejectionsToProto(rejections)}, nil
}
