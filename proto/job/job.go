// Package job is the job file: its fields, how it is read and checked, and the
// table of states that an instance of a job goes through.
//
// It is pure: no I/O, no clock. Both the agent and the control plane, and
// edgectl, use the same types, so that a job means the same everywhere. The
// JSON form of Job is also what travels between the tiers.
package job

// APIVersion is the one version of the job file that this release knows.
const APIVersion = "v0.1"

// Job is a job file (R8, R10). The zero value of an optional field means "not
// said"; Normalize puts the defaults in.
type Job struct {
	APIVersion      string            `json:"api_version"`
	Name            string            `json:"job_name"`      // [A-Za-z0-9][A-Za-z0-9._-]{0,62}
	Image           string            `json:"image"`         // what the runtime takes: an OCI reference, a path, a URL
	Runtime         string            `json:"image_runtime"` // one of Runtimes
	SHA256          string            `json:"sha256,omitempty"`
	Kind            Kind              `json:"kind,omitempty"`
	Requirements    Requirements      `json:"requirements,omitzero"`
	ClusterLocation string            `json:"cluster_location,omitempty"` // wish: a cluster's name, id or location
	WorkerNode      string            `json:"worker_node,omitempty"`      // wish: a node's name or id
	Command         []string          `json:"command,omitempty"`
	Args            []string          `json:"args,omitempty"`
	Env             map[string]string `json:"env,omitempty"`
	Workdir         string            `json:"workdir,omitempty"`
	User            string            `json:"user,omitempty"`
	Arch            string            `json:"arch,omitempty"` // amd64, arm64 or arm
	Ports           []Port            `json:"ports,omitempty"`
	Replicas        int               `json:"replicas,omitempty"` // default 1; more than 1 is not supported yet
	Restart         Restart           `json:"restart,omitzero"`
	Stop            Stop              `json:"stop,omitzero"`
}

// Kind tells jobs that should run for ever from those that should end.
type Kind string

// The kinds.
const (
	Service Kind = "service" // the default
	Batch   Kind = "batch"
)

// Requirements are reserved at placement and enforced as limits at run time.
type Requirements struct {
	CPU    float64 `json:"cpu,omitempty"`    // cores; thousandths count
	Memory int64   `json:"memory,omitempty"` // MB (10^6 bytes)
	Disk   int64   `json:"disk,omitempty"`   // MB (10^6 bytes)
}

// CPUMillis is the CPU requirement in thousandths of a core.
func (r Requirements) CPUMillis() int64 { return int64(r.CPU*1000 + 0.5) }

// MemoryBytes is the memory requirement in bytes.
func (r Requirements) MemoryBytes() int64 { return r.Memory * 1_000_000 }

// DiskBytes is the disk requirement in bytes.
func (r Requirements) DiskBytes() int64 { return r.Disk * 1_000_000 }

// Port is a port of the workload that others shall reach.
type Port struct {
	Name     string `json:"name,omitempty"`
	Port     uint16 `json:"port"`
	HostPort uint16 `json:"host_port,omitempty"` // 0: any free one
	Protocol string `json:"protocol,omitempty"`  // tcp (default) or udp
}

// RestartPolicy says when a workload that has ended is started again.
type RestartPolicy string

// The restart policies. Default: always for a service, on_failure for a batch job.
const (
	RestartAlways    RestartPolicy = "always"
	RestartOnFailure RestartPolicy = "on_failure"
	RestartNever     RestartPolicy = "never"
)

// Restart is the restart policy with its bounds. In a file it may also be
// just the policy's name.
type Restart struct {
	Policy   RestartPolicy `json:"policy,omitempty"`
	Attempts int           `json:"attempts,omitempty"` // starts after the first one until it counts as FAILED; 0: no bound for always, 3 for on_failure
	Backoff  Duration      `json:"backoff,omitempty"`  // before the first restart, doubled each time up to MaxBackoff; default 1s
}

// Stop says how a workload is asked to end.
type Stop struct {
	Grace  *Duration `json:"grace,omitempty"`  // before it is killed; default 10s
	Signal string    `json:"signal,omitempty"` // default SIGTERM
}

// Runtimes are the values that image_runtime takes (R9), aliases aside.
var Runtimes = []string{"containerd", "docker", "kvm", "lxc", "mirage", "native", "podman"}
