// Package capabilities finds out what a node is and has: its Report, made of
// what small probes find, and its Usage from moment to moment.
//
// Probes read files below a host root, which is "/" on a node and a folder of
// files in tests or in a container that has the host mounted somewhere. The
// package changes nothing and runs no programs. What is missing or makes no
// sense becomes a warning, never a failure: a node with half of its hardware
// known is still a node.
package capabilities

// Report says what a node is. Unknown is the zero value.
type Report struct {
	Hostname   string   `json:"hostname"`
	Machine    string   `json:"machine,omitempty"` // the maker's name of it: "Raspberry Pi 4 Model B Rev 1.4"
	OS         OS       `json:"os"`
	Kernel     string   `json:"kernel"`                // release, as of uname -r
	KernelArch string   `json:"kernel_arch,omitempty"` // amd64, arm64, arm; may be wider than Arch
	Arch       string   `json:"arch"`                  // amd64, arm64, arm: what programs and images must be made for
	CPU        CPU      `json:"cpu"`
	Memory     Memory   `json:"memory"`
	Disk       Disk     `json:"disk"`      // where the agent keeps its state
	Addresses  []string `json:"addresses"` // IP addresses but loopback and link-local ones, sorted
	BootID     string   `json:"boot_id"`   // another one after each boot

	Virtualisation string `json:"virtualisation,omitempty"` // "kvm", …; empty: none, or unknown

	Warnings []string `json:"warnings,omitempty"` // what could not be found out, sorted
}

// OS is the operating system as os-release(5) names it.
type OS struct {
	ID      string `json:"id"`   // "debian"
	Name    string `json:"name"` // "Debian GNU/Linux 12 (bookworm)"
	Version string `json:"version,omitempty"`
}

// CPU is the processors together.
type CPU struct {
	Model string `json:"model"`
	Cores int    `json:"cores"` // logical ones that are online
}

// Memory is the main memory.
type Memory struct {
	TotalBytes int64 `json:"total_bytes"`
}

// Disk is a file system.
type Disk struct {
	Path       string `json:"path"`
	TotalBytes int64  `json:"total_bytes"`
	FreeBytes  int64  `json:"free_bytes"` // for the agent's user
}
