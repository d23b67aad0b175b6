package server

import (
	"context"
	"io"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// Backend is what the API is served from. All fields must be set. All methods
// are called concurrently; their errors are told to the user as they are, with
// the HTTP status of their class (see package api), and as an internal error
// without details if they have none.
type Backend struct {
	Jobs      Jobs
	Instances Instances
	Events    Events
	Fleet     Fleet
	Tokens    Tokens
	Auth      Authenticator
}

// A ref below is what a user wrote to name something: an id, a unique name or
// the unique beginning of an id (see api.Resolve).

// Jobs keeps the wishes of the users.
type Jobs interface {
	// Deploy stores a job, which is valid and normalized, and returns once that
	// is durable. A second call with the same non-empty idempotency key and
	// owner returns the job of the first one; with another spec it is a conflict.
	Deploy(ctx context.Context, d Deployment) (api.Job, error)
	Job(ctx context.Context, ref string) (api.Job, error)
	// List lists jobs, newest first.
	List(ctx context.Context, f JobFilter) ([]api.Job, error)
	// Terminate makes "terminated" what is wanted of a job, durably, and does
	// not wait until it has come about. Doing it again is no error.
	Terminate(ctx context.Context, ref string) (api.Job, error)
	// Explain asks every candidate whether it would take j now; j is valid and
	// normalized, deployed or not.
	Explain(ctx context.Context, j job.Job) (api.Explanation, error)
}

// Deployment is a wish to deploy.
type Deployment struct {
	Job            job.Job
	IdempotencyKey string
	Owner          string // name of the caller's API token
}

// JobFilter selects jobs; empty fields select all.
type JobFilter struct {
	States []job.State // of the job, rolled up
	Name   string
}

// Instances reaches into running instances.
type Instances interface {
	// Logs calls yield with the output of an instance, in order, until the end
	// of what there is, with Follow the end of the instance, an error of yield
	// (which it returns), or of ctx. A slow yield slows only this stream.
	Logs(ctx context.Context, instanceID string, o LogOptions, yield func(api.LogEntry) error) error
	// Exec runs a command in an instance and returns its exit code. It must
	// return when ctx ends, even if Stdin blocks; reads of Stdin fail once it has returned.
	Exec(ctx context.Context, instanceID string, o ExecOptions) (int, error)
}

// LogOptions selects a part of the output.
type LogOptions struct {
	Follow bool
	Tail   int       // this many of the last entries; negative: all
	Since  time.Time // zero: from the beginning
}

// ExecOptions is a command to run and how it is wired. With TTY all output is Stdout.
type ExecOptions struct {
	Command []string
	Env     map[string]string
	TTY     bool
	Size    api.TermSize        // at the start; only with TTY
	Resize  <-chan api.TermSize // closed or silent when there is none
	Stdin   io.Reader           // never nil; at once at its end when there is no input
	Stdout  io.Writer
	Stderr  io.Writer
}

// Events tells what happens.
type Events interface {
	// Watch calls yield with each event that q selects, in the order of the
	// revisions and each once: those stored after q.After, then, with q.Follow,
	// those to come until ctx ends (when it returns ctx.Err()). Events that are
	// so old that they are no longer kept are left out. It returns an error of
	// yield. A yield blocks while the reader is slow, so it must be called
	// without a lock held, and what happens meanwhile read from the store again
	// rather than queued.
	Watch(ctx context.Context, q EventQuery, yield func(api.Event) error) error
}

// EventQuery selects events.
type EventQuery struct {
	JobID   string // exact; empty: of all jobs
	After   uint64 // revision; 0: from the oldest that is kept
	NewOnly bool   // none that are stored already; After does not count
	Follow  bool
}

// Fleet knows the clusters and nodes.
type Fleet interface {
	// Clusters lists the clusters by name.
	Clusters(ctx context.Context) ([]api.Cluster, error)
	Cluster(ctx context.Context, ref string) (api.Cluster, error)
	// Nodes lists the nodes by name, without their reports. Of a cluster that
	// does not answer it lists what is known, not ready.
	Nodes(ctx context.Context, f NodeFilter) ([]api.Node, error)
	// Node returns a node with its report.
	Node(ctx context.Context, ref string) (api.Node, error)
}

// NodeFilter selects nodes; empty fields select all.
type NodeFilter struct {
	Cluster string // ref
}

// Tokens keeps the tokens of users and those with which clusters and nodes
// join. Revoking takes an id; revoking again is no error, an unknown id is.
type Tokens interface {
	CreateAPIToken(ctx context.Context, t api.NewAPIToken) (api.CreatedAPIToken, error)
	APITokens(ctx context.Context) ([]api.APIToken, error)
	RevokeAPIToken(ctx context.Context, id string) error
	CreateJoinToken(ctx context.Context, t api.NewJoinToken) (api.CreatedJoinToken, error)
	JoinTokens(ctx context.Context) ([]api.JoinToken, error)
	RevokeJoinToken(ctx context.Context, id string) error
}

// Authenticator knows who presents a token.
type Authenticator interface {
	// Authenticate returns whose token this is; an error of class
	// api.ErrUnauthenticated if it is nobody's, expired or revoked. Called on
	// each request: it must be fast, and compare in constant time.
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// Identity is who makes a request.
type Identity struct {
	TokenID string
	Name    string
	Role    string
}
