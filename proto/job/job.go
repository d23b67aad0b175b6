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
// said"; Normalize puts the defaults in. The comments of the fields are also
// the descriptions in the JSON Schema; what they call short forms is understood
// by Parse only and never appears in the JSON form of a Job.
type Job struct {
	// Version of the job file's format: v0.1.
	APIVersion string `json:"api_version"`
	// Name of the job, for people and in service names: letters, digits, ".", "_" and "-", beginning with a letter or digit.
	Name string `json:"job_name"`
	// What to run, as the runtime takes it: an OCI reference, a path or a URL.
	Image string `json:"image"`
	// The runtime that runs the image. "unikernel" is another name for mirage.
	Runtime string `json:"image_runtime"`
	// SHA-256 digest that the image must have: 64 hexadecimal digits, optionally after "sha256:".
	SHA256 string `json:"sha256,omitempty"`
	// Whether the job runs for ever (service, the default) or comes to an end (batch).
	Kind Kind `json:"kind,omitempty"`
	// What the job needs: reserved when it is placed, and its limits while it runs.
	Requirements Requirements `json:"requirements,omitzero"`
	// Wish: name, id or location of the cluster that shall run the job.
	ClusterLocation string `json:"cluster_location,omitempty"`
	// Wish: name or id of the node that shall run the job.
	WorkerNode string `json:"worker_node,omitempty"`
	// What a node's labels must be. Short forms: "key" (it has such a label), "!key", "key=value", "key!=value".
	Constraints []Constraint `json:"constraints,omitempty"`
	// What a node's labels should be: of the nodes that can take the job, those with the greatest sum of weights are preferred. Short forms as in constraints.
	Affinities []Affinity `json:"affinities,omitempty"`
	// Taints of nodes that the job puts up with. Short forms: "key" (whatever its value), "key=value", each optionally with ":" and an effect.
	Tolerations []Toleration `json:"tolerations,omitempty"`
	// Program and its first arguments, instead of the image's entry point: a list, or one text that is split into words as a shell does it, quotes honoured. No shell runs it: variables, pipes and redirections need [sh, -c, "..."]. Numbers and booleans are taken as they are written.
	Command []string `json:"command,omitempty"`
	// Arguments, instead of the image's: a list or one text, as in command.
	Args []string `json:"args,omitempty"`
	// Environment variables, added to the image's. Numbers and booleans are taken as they are written.
	Env map[string]string `json:"env,omitempty"`
	// Folder in which the program starts.
	Workdir string `json:"workdir,omitempty"`
	// Name or number of the user, optionally ":" and a group.
	User string `json:"user,omitempty"`
	// Architecture that the image is made for. Default: any.
	Arch string `json:"arch,omitempty"`
	// Ports of the job that others shall reach. Short forms: 8080, "18080:8080" (host port first), "53:53/udp".
	Ports []Port `json:"ports,omitempty"`
	// How many instances run. Default 1; more than 1 is not supported yet.
	Replicas int `json:"replicas,omitempty"`
	// Whether and how the job is started again after it has ended. Short form: the policy alone.
	Restart Restart `json:"restart,omitzero"`
	// How the job is asked to end.
	Stop Stop `json:"stop,omitzero"`
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
	// CPU cores; thousandths count.
	CPU float64 `json:"cpu,omitempty"`
	// Memory in MB (1 MB is 1,000,000 bytes).
	Memory int64 `json:"memory,omitempty"`
	// Disk space in MB (1 MB is 1,000,000 bytes).
	Disk int64 `json:"disk,omitempty"`
	// Graphics processors, for the job alone unless the node shares them. Short form: how many.
	GPU Accelerator `json:"gpu,omitzero"`
	// Vision processors, such as a Movidius stick. Short form: how many.
	VPU Accelerator `json:"vpu,omitzero"`
	// Neural processors, such as a Hailo or a Coral. Short form: how many.
	NPU Accelerator `json:"npu,omitzero"`
	// Field-programmable gate arrays. Short form: how many.
	FPGA Accelerator `json:"fpga,omitzero"`
	// Other devices of the node, such as a camera or a serial port. Short forms: a path that begins with /dev/, or a kind.
	Devices []DeviceRequest `json:"devices,omitempty"`
	// Least version of the runtime, such as 20.10.
	RuntimeVersion string `json:"runtime_version,omitempty"`
	// What the runtime must be able to do, as "edgeagent drivers list" names it: exec, stats, ports, limit-memory and others.
	Features []string `json:"features,omitempty"`
}

// CPUMillis is the CPU requirement in thousandths of a core.
func (r Requirements) CPUMillis() int64 { return int64(r.CPU*1000 + 0.5) }

// MemoryBytes is the memory requirement in bytes.
func (r Requirements) MemoryBytes() int64 { return r.Memory * 1_000_000 }

// DiskBytes is the disk requirement in bytes.
func (r Requirements) DiskBytes() int64 { return r.Disk * 1_000_000 }

// Port is a port of the workload that others shall reach.
type Port struct {
	// Name of the port: small letters, digits and "-".
	Name string `json:"name,omitempty"`
	// Port that the job listens on.
	Port uint16 `json:"port"`
	// Port on the node. Default: any free one.
	HostPort uint16 `json:"host_port,omitempty"`
	// Protocol: tcp (default) or udp.
	Protocol string `json:"protocol,omitempty"`
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
	// When to start again. Default: always for a service, on_failure for a batch job.
	Policy RestartPolicy `json:"policy,omitempty"`
	// Starts after the first one until the job counts as FAILED. Default: no bound for always, 3 for on_failure.
	Attempts int `json:"attempts,omitempty"`
	// Wait before the first restart, doubled each time up to 5m: "1m30s" or a number of seconds. Default 1s.
	Backoff Duration `json:"backoff,omitempty"`
}

// Stop says how a workload is asked to end.
type Stop struct {
	// Time between the request to end and the end by force: "1m30s" or a number of seconds. Default 10s.
	Grace *Duration `json:"grace,omitempty"`
	// Signal that asks for the end, such as SIGINT. Default SIGTERM.
	Signal string `json:"signal,omitempty"`
}

// Runtimes are the values that image_runtime takes (R9), aliases aside.
var Runtimes = []string{"containerd", "docker", "kvm", "lxc", "mirage", "native", "podman"}
