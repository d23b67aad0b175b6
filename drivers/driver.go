// Package drivers is the contract between the agent and whatever runs
// workloads on a node: Docker, native processes, virtual machines, unikernels.
//
// It owns the vocabulary both sides speak (Spec, Handle, Status, Exit, …) and
// the error classes; it starts nothing itself and imports the standard library
// only, so that a driver can be written without the rest of edgeIO.
//
// # Life of a workload
//
//	         Create            Start             the workload ends
//	(nothing) ────▶ PhaseCreated ────▶ PhaseRunning ────▶ PhaseExited
//	    ▲                 │               │  Stop ends it ─────▲ │
//	    │                 │ Remove        │                      │ Start runs it again
//	    └─────────────────┴──────────────(Stop first)────────────┘ Remove
//
// A driver keeps no state that it could not find again: after the agent is
// killed and started anew, a Handle from its store, or one returned by List,
// must work with a fresh Driver value as if nothing had happened (R19).
package drivers

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// Driver runs workloads of one runtime. Implementations are safe for
// concurrent use; calls for different workloads never wait for each other.
// Every method returns promptly once its context ends; what it had half done
// by then is either undone or completed by calling it again.
//
// Errors carry one of the classes of this package (see Error).
type Driver interface {
	// Probe tells whether workloads can run here now. It never fails: what is
	// wrong is said in Info.Reason and Info.Remedy. It answers within the
	// context's deadline also when a daemon hangs.
	Probe(ctx context.Context) Info

	// Create fetches the image where the runtime does that itself and prepares
	// the workload without starting it. It is idempotent for one Spec.ID and
	// Spec.Generation: called again it returns the same workload. A cancelled or failed Create
	// leaves nothing behind but image caches. progress may be nil and is not
	// called after Create has returned.
	Create(ctx context.Context, spec Spec, progress func(Progress)) (Handle, error)

	// Start starts a created workload, or one that has ended, again; output of
	// an earlier run is kept. Starting a running workload does nothing.
	Start(ctx context.Context, h Handle) error

	// Stop asks the workload to end, and ends it and all of its processes by
	// force after the grace time. It returns when the workload has ended.
	// Stopping one that is not running, or is gone, does nothing.
	Stop(ctx context.Context, h Handle, o StopOptions) error

	// Remove deletes all that is left of a workload that is not running,
	// its output included. Removing what is gone does nothing. Removing a
	// running workload is ErrConflict.
	Remove(ctx context.Context, h Handle) error

	// Status says what is known now. ErrNotFound if there is no such workload.
	Status(ctx context.Context, h Handle) (Status, error)

	// Wait blocks until the current run of the workload ends, and returns how;
	// at once if it has ended. Any number of callers may wait.
	// ErrConflict if it was never started, ErrNotFound if it is gone.
	Wait(ctx context.Context, h Handle) (Exit, error)

	// Logs passes the workload's output to sink, oldest first, in the order
	// in which it was written to each stream. With Follow it goes on until the workload is removed
	// or the context ends, across further runs; it returns nil once removed.
	// An error of sink ends it and is returned. Entries need not be whole
	// lines; their bytes, joined per stream, are exactly what was written.
	Logs(ctx context.Context, h Handle, o LogOptions, sink func(LogEntry) error) error

	// List returns a handle for every workload of this agent that the runtime
	// still holds, running or not: the source for adoption and for finding orphans.
	List(ctx context.Context) ([]Handle, error)
}

// Execer is implemented by drivers with FeatureExec.
type Execer interface {
	// Exec runs a further command inside a running workload and returns its
	// exit code. It returns when the command has ended and its output is
	// passed on; ending the context ends the command.
	Exec(ctx context.Context, h Handle, o ExecOptions) (exitCode int, err error)
}

// StatsReader is implemented by drivers with FeatureStats.
type StatsReader interface {
	// Stats returns the resource use of a running workload.
	Stats(ctx context.Context, h Handle) (Stats, error)
}

// Trier is implemented by drivers that can be tried out on a node without an
// image of the user's.
type Trier interface {
	// Trial returns a workload that ends at once with exit code 0, and what
	// takes away again what was made for it; cleanup is never nil.
	Trial(ctx context.Context) (spec Spec, cleanup func(ctx context.Context) error, err error)
}

// Watcher is implemented by drivers that notice by themselves that Probe's
// answer may have changed (a daemon started or stopped).
type Watcher interface {
	// Watch calls changed after each change, until the context ends.
	Watch(ctx context.Context, changed func()) error
}

// Feature is something that a driver can do beyond the contract. A driver
// declares exactly those that it passes the conformance suite with.
type Feature string

// The features.
const (
	FeatureExec        Feature = "exec"         // implements Execer
	FeatureTTY         Feature = "tty"          // Exec with a terminal
	FeatureStats       Feature = "stats"        // implements StatsReader
	FeaturePorts       Feature = "ports"        // maps Spec.Ports to the host
	FeatureLimitCPU    Feature = "limit-cpu"    // enforces Resources.CPUMillis
	FeatureLimitMemory Feature = "limit-memory" // enforces Resources.MemoryBytes
	FeatureLimitPIDs   Feature = "limit-pids"   // enforces Resources.PIDs
	FeatureUser        Feature = "user"         // honours Spec.User
	FeatureDevices     Feature = "devices"      // hands over Spec.Devices
	FeatureImageFile   Feature = "image-file"   // wants Image.Path: a local file or folder, fetched by the agent
	FeatureImagePull   Feature = "image-pull"   // fetches Image.Reference itself
)

// Info is the answer of Probe.
type Info struct {
	Name     string    `json:"name"`               // the runtime's name in job files: "docker", "native", …
	Usable   bool      `json:"usable"`             //
	Version  string    `json:"version,omitempty"`  // of the runtime
	Endpoint string    `json:"endpoint,omitempty"` // socket or program that is used
	Features []Feature `json:"features"`           // sorted
	Reason   string    `json:"reason,omitempty"`   // why not usable, one line
	Remedy   string    `json:"remedy,omitempty"`   // what to do about it, one line
}

// Spec says what to run. Zero values mean "the image's or runtime's default".
type Spec struct {
	ID         string            `json:"id"`         // instance id: [a-z0-9-]{1,64}, unique on the node for one generation
	Generation uint64            `json:"generation"` // of the assignment; names the workload together with ID
	Name       string            `json:"name"`       // for people: the job's name
	Image      Image             `json:"image"`
	Command    []string          `json:"command,omitempty"` // replaces the image's entry point
	Args       []string          `json:"args,omitempty"`    // replaces the image's arguments
	Env        map[string]string `json:"env,omitempty"`     // added to the image's; values are exact bytes
	Workdir    string            `json:"workdir,omitempty"`
	User       string            `json:"user,omitempty"` // name or uid, optionally ":group"
	Resources  Resources         `json:"resources"`
	Ports      []Port            `json:"ports,omitempty"`
	Devices    []Device          `json:"devices,omitempty"` // those that the workload, and no other one, may use; ErrUnsupported without FeatureDevices
	Labels     map[string]string `json:"labels,omitempty"`  // put on the workload where the runtime has labels
}

// Image names what to run. A driver with FeatureImageFile gets Path; one with
// FeatureImagePull gets Reference.
type Image struct {
	Reference string `json:"reference"`        // as the job file says it
	Path      string `json:"path,omitempty"`   // local file, or folder of an unpacked archive; read-only for the driver
	SHA256    string `json:"sha256,omitempty"` // hex; content digest the image must have; checked by who fetches it
	Arch      string `json:"arch,omitempty"`   // amd64, arm64, arm; empty: the node's
}

// Resources are limits, enforced by the runtime; zero is unlimited.
type Resources struct {
	CPUMillis   int64 `json:"cpu_millis,omitempty"`   // thousandths of a core
	MemoryBytes int64 `json:"memory_bytes,omitempty"` // swap is not added to it
	PIDs        int64 `json:"pids,omitempty"`
}

// Port is a port of the workload that is reachable on the host.
type Port struct {
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol"`  // "tcp" or "udp"
	Port     uint16 `json:"port"`      // inside the workload
	HostPort uint16 `json:"host_port"` // on the host; 0: the runtime chooses, Status tells
}

// Device is a device of the node that a workload is given. The workload finds
// it at the same paths as the node does, and its user can open it.
type Device struct {
	ID     string   `json:"id"`               // stable on the node: "gpu-pci-0000:01:00.0"
	Kind   string   `json:"kind"`             // "gpu", "vpu", "npu", "fpga", "camera", "serial", …
	Vendor string   `json:"vendor,omitempty"` // in words: "NVIDIA Corporation"
	Model  string   `json:"model,omitempty"`
	Paths  []string `json:"paths,omitempty"` // device nodes in /dev; a folder in /sys for what has none
}

// Progress is a sign of life of a long Create.
type Progress struct {
	Phase   string `json:"phase"`   // "pulling", "verifying", "unpacking", …
	Current int64  `json:"current"` // bytes done
	Total   int64  `json:"total"`   // bytes in all; 0 while unknown
}

// Handle names a workload durably. The agent stores it and hands it back; only
// the driver that made it reads Data.
type Handle struct {
	Driver     string          `json:"driver"`
	Version    int             `json:"version"` // of Data's format; a version the driver does not know is ErrInvalid
	ID         string          `json:"id"`      // Spec.ID
	Generation uint64          `json:"generation"`
	Data       json.RawMessage `json:"data,omitempty"`
}

// Phase is where a workload is in its life.
type Phase string

// The phases; see the package comment.
const (
	PhaseCreated Phase = "created"
	PhaseRunning Phase = "running"
	PhaseExited  Phase = "exited"
)

// Status is what the runtime knows of a workload.
type Status struct {
	Phase     Phase     `json:"phase"`
	StartedAt time.Time `json:"started_at,omitzero"` // of the current or last run
	PID       int       `json:"pid,omitempty"`       // of its first process as the host sees it, while running
	Exit      Exit      `json:"exit,omitzero"`       // valid in PhaseExited
	Ports     []Port    `json:"ports,omitempty"`     // with the host ports in use
	Address   string    `json:"address,omitempty"`   // of the workload on the node, if it has one of its own
}

// Exit says how a run ended.
type Exit struct {
	Code      int       `json:"code"`                // exit code; 128 + signal number if killed by one; -1 if Lost
	OOMKilled bool      `json:"oom_killed"`          // the memory limit ended it
	Lost      bool      `json:"lost"`                // nobody saw it end: the node or its runtime died
	Reason    string    `json:"reason,omitempty"`    // in words, if there is more to say
	Permanent bool      `json:"permanent,omitempty"` // a further run would end the same way, as with wrong arguments: not restarted
	At        time.Time `json:"at,omitzero"`
}

// StopOptions say how to stop.
type StopOptions struct {
	Signal string        // "SIGTERM" if empty; a name as in signal(7)
	Grace  time.Duration // before force; 0: force at once
}

// LogOptions choose what part of the output is wanted.
type LogOptions struct {
	Follow bool
	Tail   int       // only the last so many lines to begin with; negative: all
	Since  time.Time // only what was written later
}

// LogEntry is a piece of output.
type LogEntry struct {
	Time   time.Time
	Stream Stream
	Data   []byte // the callee must not keep it
}

// Stream is an output stream of a workload.
type Stream string

// The streams.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// ExecOptions describe a further command in a workload.
type ExecOptions struct {
	Command []string
	Env     map[string]string
	TTY     bool
	Size    <-chan TermSize // sizes of the terminal as they change; may be nil
	Stdin   io.Reader       // nil: none
	Stdout  io.Writer
	Stderr  io.Writer // unused with TTY
}

// TermSize is the size of a terminal in characters.
type TermSize struct{ Columns, Rows uint16 }

// Stats is the resource use of a workload, all of its processes together.
type Stats struct {
	At             time.Time     `json:"at"`
	CPUTime        time.Duration `json:"cpu_time"` // since it was started
	MemoryBytes    int64         `json:"memory_bytes"`
	PIDs           int64         `json:"pids"`
	NetworkRxBytes int64         `json:"network_rx_bytes,omitempty"`
	NetworkTxBytes int64         `json:"network_tx_bytes,omitempty"`
}
