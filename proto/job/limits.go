package job

import "time"

// MaxFileSize is the largest job file that Parse reads, in bytes.
const MaxFileSize = 1 << 20

// MaxBackoff is the longest wait between two restarts.
const MaxBackoff = 5 * time.Minute

// Bounds of the fields. They are wide enough for any job that means well, and
// keep a hostile one from costing more than a few hundred kilobytes wherever
// it is stored, sent or shown.
const (
	maxProblems    = 50
	maxDepth       = 16              // of nested lists and mappings; a job needs 4
	maxElements    = 4096            // scalars, lists and mappings of one file
	maxTokens      = 4 * maxElements // of YAML: with each element its comment, and the signs around it
	maxSigns       = 4 * maxTokens   // the same, before it is known which of them stand in a text
	maxImage       = 4096
	maxWish        = 128
	maxPath        = 4096 // PATH_MAX on Linux
	maxWords       = 1024 // of command, and of args
	maxWord        = 64 << 10
	maxEnv         = 512
	maxEnvName     = 256
	maxProcessText = 256 << 10 // command, args and env together
	maxPorts       = 64
	maxCPU         = 4096.0
	minCPU         = 0.001         // what CPUMillis can tell from none
	maxMegabytes   = 1_000_000_000 // 1 PB: times 10^6 still fits an int64
	maxReplicas    = 1             // until replication is supported
	maxAttempts    = 1_000_000
	maxGrace       = time.Hour
	maxDevices     = 16 // entries of devices
	maxDeviceCount = 64 // of one kind
	maxFeatures    = 16
	maxRules       = 32 // of constraints, of affinities, and of tolerations
	maxValues      = 16 // of one constraint
	maxWeight      = 100
	maxDeviceText  = 256 // of what describes a device
)

// Patterns of names, as JSON Schema and Go both read them.
const (
	namePattern     = `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`
	portNamePattern = `^[a-z0-9][a-z0-9-]{0,62}$`
	sha256Pattern   = `^(sha256:)?[0-9A-Fa-f]{64}$`
	userPattern     = `^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$`
	devPathPattern  = `^/dev(/[A-Za-z0-9_:@+-][A-Za-z0-9._:@+-]*)+$`
	labelKeyPattern = `^[A-Za-z0-9][A-Za-z0-9._/-]{0,126}$`
	labelPattern    = `^[A-Za-z0-9._:/+@-]{0,127}$`
	versionPattern  = `^[0-9]{1,9}(\.[0-9]{1,9}){0,3}$`
	featurePattern  = `^[a-z0-9][a-z0-9-]{0,62}$`
	envNamePattern  = `^[^=\s\x00-\x1f\x7f]{1,256}$`
)

// aliases are other names of runtimes; Normalize replaces them.
var aliases = map[string]string{"unikernel": "mirage"}

// The closed lists of values, in the order in which messages show them.
var (
	kinds     = []string{string(Service), string(Batch)}
	policies  = []string{string(RestartAlways), string(RestartOnFailure), string(RestartNever)}
	arches    = []string{"amd64", "arm64", "arm"}
	protocols = []string{"tcp", "udp"}
	operators = []string{string(In), string(NotIn), string(Exists), string(NotExists)}
	effects   = []string{string(NoSchedule), string(PreferNoSchedule)}
	// deviceKinds are those of capabilities.Kind that a workload can be given.
	deviceKinds = []string{"gpu", "vpu", "npu", "fpga", "camera", "codec", "display", "sensor", "serial", "i2c", "spi", "gpio", "tpm", "usb"}
	// signals are those of signal(7) that can ask a process to end; the
	// stopping, continuing and fault signals cannot.
	signals = []string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGWINCH", "SIGALRM", "SIGABRT", "SIGPWR"}
)
