// Package capabilities finds out what a node is and has: its Report, made of
// what small probes find, and its Usage from moment to moment.
//
// Probes read files below a host root, which is "/" on a node and a folder of
// files in tests or in a container that has the host mounted somewhere. The
// package changes nothing and runs no programs. What is missing or makes no
// sense becomes a warning, never a failure: a node with half of its hardware
// known is still a node.
//
// The readers are our own. ghw and gopsutil follow links out of a relocated
// root, stop for no deadline, and block on a file that is a pipe; neither knows
// boards, accelerators or cameras. Tests compare with them instead.
package capabilities

// Report says what a node is. Unknown is the zero value. All lists are sorted,
// and have at most a few hundred entries on any machine.
type Report struct {
	Hostname   string      `json:"hostname"`
	Machine    string      `json:"machine,omitempty"` // the maker's name of it: "Raspberry Pi 4 Model B Rev 1.4"
	Board      Board       `json:"board,omitzero"`
	OS         OS          `json:"os"`
	Init       string      `json:"init,omitempty"`        // program with PID 1: "systemd", "procd", …
	Kernel     string      `json:"kernel"`                // release, as of uname -r
	KernelArch string      `json:"kernel_arch,omitempty"` // amd64, arm64, arm; may be wider than Arch
	Arch       string      `json:"arch"`                  // amd64, arm64, arm: what programs and images must be made for
	CPU        CPU         `json:"cpu"`
	Memory     Memory      `json:"memory"`
	Disk       Disk        `json:"disk"` // where the agent keeps its state
	Disks      []Drive     `json:"disks,omitempty"`
	Addresses  []string    `json:"addresses"` // IP addresses but loopback and link-local ones, sorted
	Interfaces []Interface `json:"interfaces,omitempty"`
	Devices    []Device    `json:"devices,omitempty"`
	BootID     string      `json:"boot_id"` // another one after each boot

	Virtualisation string   `json:"virtualisation,omitempty"` // "none": bare metal; "vm" or its sort: "qemu", "vmware", …; empty: unknown
	Container      string   `json:"container,omitempty"`      // "docker", "lxc", …: the agent sees a container, not the machine
	KVM            KVM      `json:"kvm,omitzero"`
	Cgroup         Cgroup   `json:"cgroup,omitzero"`
	Security       Security `json:"security,omitzero"`
	Clock          Clock    `json:"clock,omitzero"`

	Warnings []string `json:"warnings,omitempty"` // what could not be found out, sorted
}

// Answer is yes, no, or empty for unknown.
type Answer string

// The answers that are known.
const (
	Yes Answer = "yes"
	No  Answer = "no"
)

// answer is the Answer of a question that could be decided.
func answer(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// Board is the model of the machine.
type Board struct {
	ID         string `json:"id,omitempty"` // short and stable: "raspberry-pi-4", "jetson-agx-xavier"
	Vendor     string `json:"vendor,omitempty"`
	Model      string `json:"model,omitempty"`
	SoC        string `json:"soc,omitempty"`        // "bcm2711", "tegra194", on boards with a device tree
	L4T        string `json:"l4t,omitempty"`        // release of NVIDIA's Linux for Tegra: "35.4.1"
	JetPack    string `json:"jetpack,omitempty"`    // the JetPack that this L4T belongs to: "5.1.2"
	Compatible string `json:"compatible,omitempty"` // first of the device tree: "raspberrypi,4-model-b"
}

// OS is the operating system as os-release(5) names it.
type OS struct {
	ID      string `json:"id"`   // "debian"
	Name    string `json:"name"` // "Debian GNU/Linux 12 (bookworm)"
	Version string `json:"version,omitempty"`
}

// CPU is the processors together.
type CPU struct {
	Model     string   `json:"model"` // of the fastest sort if there are several
	Vendor    string   `json:"vendor,omitempty"`
	Cores     int      `json:"cores"`              // logical ones that are online
	Physical  int      `json:"physical,omitempty"` // cores that share nothing with a sibling thread
	Sockets   int      `json:"sockets,omitempty"`
	NUMANodes int      `json:"numa_nodes,omitempty"` // with processors
	MaxMHz    int      `json:"max_mhz,omitempty"`
	Variant   string   `json:"variant,omitempty"`  // of Arch, as OCI images have it: "v6" … "v8"; "v1" … "v4" on amd64
	Features  []string `json:"features,omitempty"` // those that programs are built for: "neon", "avx2", "sve", …
}

// Memory is the main memory.
type Memory struct {
	TotalBytes int64       `json:"total_bytes"`
	SwapBytes  int64       `json:"swap_bytes,omitempty"`
	HugePages  []HugePages `json:"huge_pages,omitempty"` // that are reserved
}

// HugePages is a pool of huge pages of one size.
type HugePages struct {
	SizeBytes int64 `json:"size_bytes"`
	Total     int64 `json:"total"`
}

// Disk is a file system.
type Disk struct {
	Path       string `json:"path"`
	TotalBytes int64  `json:"total_bytes"`
	FreeBytes  int64  `json:"free_bytes"` // for the agent's user
}

// Drive is a block device with hardware, or a host, behind it.
type Drive struct {
	Name       string `json:"name"` // "mmcblk0", below /dev
	Model      string `json:"model,omitempty"`
	Bytes      int64  `json:"bytes"`
	Rotational bool   `json:"rotational,omitempty"`
	Removable  bool   `json:"removable,omitempty"`
	Bus        string `json:"bus,omitempty"` // nvme, mmc, usb, virtio, scsi, …
}

// Interface is a network interface. Loopback and ends of containers' links are left out.
type Interface struct {
	Name         string   `json:"name"`
	Kind         string   `json:"kind"` // ethernet, wireless, cellular, can, virtual
	Up           bool     `json:"up"`
	SpeedMbps    int      `json:"speed_mbps,omitempty"`
	Driver       string   `json:"driver,omitempty"`
	Addresses    []string `json:"addresses,omitempty"` // with prefix length where it is known
	DefaultRoute bool     `json:"default_route,omitempty"`
	Gateway      string   `json:"gateway,omitempty"` // of the default route
}

// Kind says what a device is to a workload.
type Kind string

// The kinds.
const (
	GPU     Kind = "gpu"
	Display Kind = "display" // draws pictures but computes nothing: of a VM, of a server's remote console
	VPU     Kind = "vpu"
	NPU     Kind = "npu"
	FPGA    Kind = "fpga"
	Camera  Kind = "camera"
	Codec   Kind = "codec" // encodes, decodes or scales video
	Serial  Kind = "serial"
	I2C     Kind = "i2c"
	SPI     Kind = "spi"
	GPIO    Kind = "gpio"
	Sensor  Kind = "sensor"
	TPM     Kind = "tpm"
	USB     Kind = "usb" // on USB, and none of the above
)

// Device is something that a workload can be given.
type Device struct {
	ID            string   `json:"id"` // kind, bus and place: "gpu-pci-0000:01:00.0"; the same after a boot and after plugging it in again there
	Kind          Kind     `json:"kind"`
	Vendor        string   `json:"vendor,omitempty"`
	Model         string   `json:"model,omitempty"`
	VendorID      string   `json:"vendor_id,omitempty"`  // on PCI and USB, four hexadecimal digits
	ProductID     string   `json:"product_id,omitempty"` //
	Paths         []string `json:"paths,omitempty"`      // to hand to a workload: nodes in /dev; folders of /sys for what has none
	Driver        string   `json:"driver,omitempty"`
	DriverVersion string   `json:"driver_version,omitempty"`
	MemoryBytes   int64    `json:"memory_bytes,omitempty"`  // of its own
	SharedMemory  bool     `json:"shared_memory,omitempty"` // uses the main memory
	NUMANode      *int     `json:"numa_node,omitempty"`     // on machines with several

	address string // bus and place: what entries of one device have in common
}

// KVM says whether virtual machines run here.
type KVM struct {
	Works  Answer `json:"works,omitempty"`  // yes: one has been made, and has run
	Reason string `json:"reason,omitempty"` // why not, or why that is unknown
}

// Cgroup is the kernel's interface for limits.
type Cgroup struct {
	Version     int      `json:"version,omitempty"` // 1 or 2
	Controllers []string `json:"controllers,omitempty"`
}

// Security is what confines programs.
type Security struct {
	Modules []string `json:"modules,omitempty"` // apparmor, selinux, landlock, …
	Seccomp bool     `json:"seccomp,omitempty"`
}

// Clock says how far the time can be trusted.
type Clock struct {
	Synchronised Answer `json:"synchronised,omitempty"`
	RTC          bool   `json:"rtc,omitempty"` // goes on while the power is off
}
