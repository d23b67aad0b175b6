// Package config is the agent's configuration: what can be set, the defaults,
// and how file, environment and flags are put together, each stronger than the
// one before. It reads one file and the environment that it is given, and
// reports all that is wrong at once, with the place.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edgeio/edgeio/proto/job"
)

// DefaultFile is read if no other is named; it need not exist.
const DefaultFile = "/etc/edgeio/edgeagent.yaml"

// Config is all that can be set. The names in a file are those in the tags; in
// the environment they are in capitals, joined by underscores, after
// EDGEAGENT_: EDGEAGENT_LOG_LEVEL. Lists and mappings are written a,b and
// k=v,k=v there.
type Config struct {
	Name          string              `yaml:"name"`
	StateDir      string              `yaml:"state_dir"`
	Parents       []string            `yaml:"parents"`
	Labels        map[string]string   `yaml:"labels"`
	Taints        []string            `yaml:"taints"` // as job.ParseTaint reads them
	Devices       Devices             `yaml:"devices"`
	UsageInterval time.Duration       `yaml:"usage_interval"`
	Log           Log                 `yaml:"log"`
	Reserve       Reserve             `yaml:"reserve"`
	Images        Images              `yaml:"images"`
	Registries    map[string]Registry `yaml:"registries"` // by host
	Drivers       Drivers             `yaml:"drivers"`
}

// Devices says how devices are given to jobs.
type Devices struct {
	Shared []string `yaml:"shared"` // kinds or ids; all others are given to one job at a time
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// Reserve is what the node keeps for itself.
type Reserve struct {
	CPU      float64 `yaml:"cpu"`       // cores
	MemoryMB int64   `yaml:"memory_mb"` // MB of 10^6 bytes; negative: a tenth, at most 512 MB
	DiskMB   int64   `yaml:"disk_mb"`
}

// Images says how images that are files are kept.
type Images struct {
	CacheMB int64 `yaml:"cache_mb"` // what the cache may grow to
}

// Drivers has a section for each runtime that can be configured.
type Drivers struct {
	Disabled []string `yaml:"disabled"` // runtimes that are not used
	Dir      string   `yaml:"dir"`      // where driver programs are looked for; they are called edgedriver-RUNTIME
	Native   Native   `yaml:"native"`
	Docker   Docker   `yaml:"docker"`
	Mirage   Mirage   `yaml:"mirage"`
}

// Native configures native processes.
type Native struct {
	Shim        string `yaml:"shim"`         // path of edgeshim
	DefaultUser string `yaml:"default_user"` // for jobs that name none
}

// Docker configures the use of a Docker daemon.
type Docker struct {
	Host     string `yaml:"host"`
	AuthFile string `yaml:"auth_file"`
}

// Mirage configures unikernels. Empty paths mean what is installed.
type Mirage struct {
	HVT       string `yaml:"hvt"`       // tender for images of this target
	SPT       string `yaml:"spt"`       // tender for images of this target
	QEMU      string `yaml:"qemu"`      // for images of the target virtio
	Emulation bool   `yaml:"emulation"` // whether QEMU may run without KVM
	Network   string `yaml:"network"`   // what unikernels get addresses from, in CIDR form
	BlockMB   int64  `yaml:"block_mb"`  // MB of each block device; 0: none is given
}

// Registry has the credentials for a registry of images, or for a web server
// that has some.
type Registry struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
}

// Default returns the configuration of an agent that nobody has configured.
func Default() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	host, _, _ = strings.Cut(host, ".")
	return Config{
		Name: host, StateDir: "/var/lib/edgeio/agent", UsageInterval: 15 * time.Second,
		Log: Log{Level: "info", Format: "text"}, Reserve: Reserve{MemoryMB: -1, DiskMB: 1000},
		Images: Images{CacheMB: 10_000}, Drivers: Drivers{
			Dir: "/usr/lib/edgeio/drivers", Mirage: Mirage{Emulation: true, Network: "10.97.0.0/24"},
		},
	}
}

// Load reads file and environment, checks nothing but their form, and returns
// the result on top of the defaults. The default file need not exist.
func Load(file string, environ []string) (Config, error) {
	c := Default()
	data, err := os.ReadFile(file)
	switch {
	case os.IsNotExist(err) && file == DefaultFile:
	case err != nil:
		return c, fmt.Errorf("read the configuration: %w", err)
	default:
		if err := decode(&c, file, data); err != nil {
			return c, err
		}
	}
	if err := applyEnv(&c, environ); err != nil {
		return c, err
	}
	return c, nil
}

// derivedLabels is how the labels begin that are derived from the report.
const derivedLabels = "edgeio.dev/"

// Bounds of what the node tells of itself with each registration.
const (
	maxLabels = 128
	maxTaints = 16
)

// NodeTaints returns the taints; Validate has seen them.
func (c Config) NodeTaints() []job.Taint {
	var out []job.Taint
	for _, s := range c.Taints {
		if t, ok := job.ParseTaint(s); ok {
			out = append(out, t)
		}
	}
	return out
}

// Validate returns all that is wrong with the values, one line each.
func (c Config) Validate() error {
	var e Error
	bad := func(field, format string, args ...any) {
		e.Problems = append(e.Problems, Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if n := len(c.Name); n == 0 || n > 63 || strings.ContainsFunc(c.Name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		bad("name", "%q: want 1 to 63 characters without spaces", c.Name)
	}
	if !filepath.IsAbs(c.StateDir) {
		bad("state_dir", "%q: want an absolute path", c.StateDir)
	}
	for i, p := range c.Parents {
		if _, port, err := net.SplitHostPort(p); err != nil || port == "" {
			bad(fmt.Sprintf("parents[%d]", i), "%q: want host:port", p)
		}
	}
	for k, v := range c.Labels {
		switch {
		case !job.ValidLabel(k, v):
			bad("labels", `%q: want a key of 1 to 127 letters, digits and "._/-", and a value of at most 127 letters, digits and "._:/+@-"`, k+"="+v)
		case strings.HasPrefix(k, derivedLabels):
			bad("labels", "%q: what begins with %s is derived from what the node is; choose another key", k, derivedLabels)
		}
	}
	for i, t := range c.Taints {
		if _, ok := job.ParseTaint(t); !ok {
			bad(fmt.Sprintf("taints[%d]", i), `%q: want "key", "key=value", each optionally with ":no_schedule" or ":prefer_no_schedule"`, t)
		}
	}
	if len(c.Labels) > maxLabels || len(c.Taints) > maxTaints {
		bad("labels", "want at most %d labels and %d taints", maxLabels, maxTaints)
	}
	for i, d := range c.Devices.Shared {
		if d == "" {
			bad(fmt.Sprintf("devices.shared[%d]", i), "want a kind of devices, such as gpu, or the id of one")
		}
	}
	if c.UsageInterval < time.Second || c.UsageInterval > time.Hour {
		bad("usage_interval", "%s: want 1s to 1h", c.UsageInterval)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		bad("log.level", "%q: want debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		bad("log.format", "%q: want text or json", c.Log.Format)
	}
	if c.Reserve.CPU < 0 || c.Reserve.CPU > 1024 {
		bad("reserve.cpu", "%g: want a number of cores", c.Reserve.CPU)
	}
	if c.Reserve.DiskMB < 0 {
		bad("reserve.disk_mb", "%d: want 0 or more", c.Reserve.DiskMB)
	}
	if c.Images.CacheMB < 0 {
		bad("images.cache_mb", "%d: want 0 or more", c.Images.CacheMB)
	}
	if c.Drivers.Dir != "" && !filepath.IsAbs(c.Drivers.Dir) {
		bad("drivers.dir", "%q: want an absolute path", c.Drivers.Dir)
	}
	if p, err := netip.ParsePrefix(c.Drivers.Mirage.Network); err != nil || !p.Addr().Is4() || p.Bits() < 16 || p.Bits() > 29 {
		bad("drivers.mirage.network", "%q: want a network of IPv4 with 16 to 29 bits, such as 10.97.0.0/24", c.Drivers.Mirage.Network)
	}
	if c.Drivers.Mirage.BlockMB < 0 {
		bad("drivers.mirage.block_mb", "%d: want 0 or more", c.Drivers.Mirage.BlockMB)
	}
	for host, r := range c.Registries {
		if r.Username == "" || r.PasswordFile == "" {
			bad("registries."+host, "want username and password_file")
		}
	}
	return e.orNil()
}

// Logger returns the logger that the configuration asks for.
func (l Log) Logger(w *os.File) *slog.Logger {
	var level slog.Level
	// Validate has seen the name.
	_ = level.UnmarshalText([]byte(l.Level))
	o := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// Problem is one thing that is wrong.
type Problem struct {
	Line, Column int // 0: not from a file
	Field        string
	Message      string
}

// Error says all that is wrong with a configuration.
type Error struct {
	Source   string
	Problems []Problem
}

func (e *Error) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

// Error has one line per problem, in the form that editors understand.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		where := e.Source
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", e.Source, p.Line, p.Column)
		}
		if where != "" {
			where += ": "
		}
		if p.Field != "" {
			where += p.Field + ": "
		}
		lines[i] = where + p.Message
	}
	return strings.Join(lines, "\n")
}
