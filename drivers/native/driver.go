// Package native runs workloads as plain processes of the node: a program or
// script, limited by control groups, as the user that the job or the node names.
//
// Each workload has a folder, and an edgeshim process while it runs (package
// cmd/edgeshim), which outlives the agent. The driver keeps nothing in memory
// that matters: whatever it is asked, it reads from the folder and from /proc.
// README.md says what a job may rely on.
package native

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/cgroup"
	"github.com/edgeio/edgeio/drivers/internal/logread"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

const (
	name          = "native"
	handleVersion = 1
)

// Config of the driver. Zero values mean the defaults.
type Config struct {
	// Dir is where workloads have their folders; it is created. Its parents
	// must let users pass (mode o+x) who are to run workloads.
	Dir string
	// ShimPath is the edgeshim program; default: beside the agent's own.
	ShimPath string
	// DefaultUser runs workloads that name none; default: nobody if the agent
	// is root, else the agent's own user.
	DefaultUser string
	// LogBytes and LogFiles bound a workload's log; default: 3 files of 10 MiB.
	LogBytes int64
	LogFiles int
	// CgroupRoot is where control groups are mounted; default /sys/fs/cgroup.
	// CgroupParent is the group that ours are made in; default "edgeio".
	CgroupRoot, CgroupParent string
}

func (c *Config) setDefaults() error {
	if c.Dir == "" {
		return errors.New("native driver: Config.Dir is empty")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("native driver: folder %s: %w", c.Dir, err)
	}
	c.Dir = dir
	if c.ShimPath == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("native driver: find edgeshim: %w", err)
		}
		c.ShimPath = filepath.Join(filepath.Dir(self), "edgeshim")
	}
	if c.DefaultUser == "" && os.Geteuid() == 0 {
		c.DefaultUser = "nobody"
	}
	if c.LogBytes <= 0 {
		c.LogBytes = 10 << 20
	}
	if c.LogFiles <= 0 {
		c.LogFiles = 3
	}
	if c.CgroupRoot == "" {
		c.CgroupRoot = cgroup.DefaultRoot
	}
	if c.CgroupParent == "" {
		c.CgroupParent = "edgeio"
	}
	return nil
}

// Driver implements drivers.Driver for processes. It is safe for concurrent use.
type Driver struct {
	cfg     Config
	log     *slog.Logger
	cgroups *cgroup.Host
	boot    string
	notify  logread.Notifier
	locks   locks

	shimMu      sync.Mutex
	shimVersion string // "" until edgeshim has told
}

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Execer      = (*Driver)(nil)
	_ drivers.StatsReader = (*Driver)(nil)
)

// New returns the driver for the workloads in cfg.Dir.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	// Users must get through to their work folders, not list what else runs.
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("native driver: %w", err)
	}
	boot, err := shim.BootID()
	if err != nil {
		return nil, fmt.Errorf("native driver: %w", err)
	}
	d := &Driver{cfg: cfg, log: log, boot: boot, cgroups: cgroup.Detect(cfg.CgroupRoot, cfg.CgroupParent)}
	d.sweep()
	return d, nil
}

// Prefixes of folders that are not workloads yet, or no more.
const (
	prefixNew  = ".new-"
	prefixGone = ".gone-"
)

// leftoverAge is when a half-made folder must be that of an agent that died.
const leftoverAge = 10 * time.Minute

// sweep deletes what an agent that was killed in Create or Remove has left.
func (d *Driver) sweep() {
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefixNew) && !strings.HasPrefix(e.Name(), prefixGone) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			if err := removeTree(filepath.Join(d.cfg.Dir, e.Name())); err != nil {
				d.log.Warn("what is left of a workload cannot be deleted", "error", err)
			}
		}
	}
}

// folder is the name of a workload's folder.
func folder(id string, generation uint64) string {
	return id + "-" + strconv.FormatUint(generation, 10)
}

func handle(id string, generation uint64) drivers.Handle {
	return drivers.Handle{Driver: name, Version: handleVersion, ID: id, Generation: generation}
}

// parseFolder is the reverse of folder.
func parseFolder(s string) (drivers.Handle, bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return drivers.Handle{}, false
	}
	generation, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil || (drivers.Spec{ID: s[:i]}).Check() != nil {
		return drivers.Handle{}, false
	}
	return handle(s[:i], generation), true
}

// workload is a place to work on one workload from.
type workload struct {
	*Driver
	op  string // of the call, for errors
	id  string
	key string // folder's name
	dir string
}

// open finds the folder that h names; the folder may be gone.
func (d *Driver) open(op string, h drivers.Handle) (*workload, error) {
	if h.Driver != name || h.Version != handleVersion {
		return nil, drivers.Errorf(drivers.ErrInvalid, op, h.ID, "handle of driver %q version %d; this driver reads %q version %d", h.Driver, h.Version, name, handleVersion)
	}
	if err := (drivers.Spec{ID: h.ID}).Check(); err != nil {
		return nil, drivers.Errorf(drivers.ErrInvalid, op, h.ID, "%w", err)
	}
	key := folder(h.ID, h.Generation)
	return &workload{Driver: d, op: op, id: h.ID, key: key, dir: filepath.Join(d.cfg.Dir, key)}, nil
}

func (w *workload) errorf(class error, format string, args ...any) error {
	return drivers.Errorf(class, w.op, w.id, format, args...)
}

// fail gives an error of the operating system its class.
func (w *workload) fail(err error) error { return w.errorf(class(err), "%w", err) }

func class(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return drivers.ErrDenied
	case isExhausted(err):
		return drivers.ErrExhausted
	default:
		return drivers.ErrUnavailable
	}
}

// locks makes the short steps of Create, Start and Remove of one workload wait
// for each other, and those of different workloads not.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	sync.Mutex
	users int
}

// lock locks key and returns what unlocks it.
func (l *locks) lock(key string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[key]
	if k == nil {
		k = new(lock)
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()
	k.Lock()
	return func() {
		k.Unlock()
		l.mu.Lock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
		l.mu.Unlock()
	}
}
