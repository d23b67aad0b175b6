// Package process runs workloads that are one process tree of the node each,
// kept alive by an edgeshim (package cmd/edgeshim) that outlives the agent. It
// is what the drivers of native programs and of unikernels have in common: all
// of the contract but the decision what is to be run.
//
// Each workload has a folder, and an edgeshim process while it runs. Nothing
// that matters is kept in memory: whatever is asked is read from the folder
// and from /proc.
package process

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
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/cgroup"
	"github.com/edgeio/edgeio/drivers/internal/logread"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// Config of a Keeper. Zero values mean the defaults.
type Config struct {
	// Name is the driver's, HandleVersion that of its handles.
	Name          string
	HandleVersion int
	// Dir is where workloads have their folders; it is created. Its parents
	// must let users pass (mode o+x) who are to run workloads.
	Dir string
	// ShimPath is the edgeshim program; default: beside the agent's own.
	ShimPath string
	// LogBytes and LogFiles bound a workload's log; default: 3 files of 10 MiB.
	LogBytes int64
	LogFiles int
	// CgroupRoot is where control groups are mounted; default /sys/fs/cgroup.
	// CgroupParent is the group that ours are made in; default "edgeio".
	CgroupRoot, CgroupParent string

	// StartFailure words an error of starting l: what edgeshim was at, and the
	// system's error number. May be nil.
	StartFailure func(w *Workload, l *shim.Launch, what string, errno syscall.Errno) error
	// Explain says what an end that somebody saw means, where the exit code
	// alone does not. started is zero if it is not known any more. May be nil.
	Explain func(w *Workload, started time.Time, exit drivers.Exit) drivers.Exit
}

func (c *Config) setDefaults() error {
	if c.Dir == "" {
		return errors.New("Config.Dir is empty")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("folder %s: %w", c.Dir, err)
	}
	c.Dir = dir
	if c.ShimPath == "" {
		if c.ShimPath, err = Beside("edgeshim"); err != nil {
			return err
		}
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

// Beside returns the path of a program beside this one.
func Beside(program string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", program, err)
	}
	return filepath.Join(filepath.Dir(self), program), nil
}

// Keeper keeps the workloads of one driver. It is safe for concurrent use.
type Keeper struct {
	cfg     Config
	log     *slog.Logger
	cgroups *cgroup.Host
	boot    string
	notify  logread.Notifier
	locks   locks

	shimMu      sync.Mutex
	shimVersion string // "" until edgeshim has told
}

// ShimPath is the edgeshim program in use.
func (k *Keeper) ShimPath() string { return k.cfg.ShimPath }

// New returns the keeper of the workloads in cfg.Dir.
func New(cfg Config, log *slog.Logger) (*Keeper, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, fmt.Errorf("%s driver: %w", cfg.Name, err)
	}
	// Users must get through to their work folders, not list what else runs.
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("%s driver: %w", cfg.Name, err)
	}
	boot, err := shim.BootID()
	if err != nil {
		return nil, fmt.Errorf("%s driver: %w", cfg.Name, err)
	}
	k := &Keeper{cfg: cfg, log: log, boot: boot, cgroups: cgroup.Detect(cfg.CgroupRoot, cfg.CgroupParent)}
	k.sweep()
	return k, nil
}

// Config returns the configuration with its defaults.
func (k *Keeper) Config() Config { return k.cfg }

// Cgroups returns what the machine's control groups can do.
func (k *Keeper) Cgroups() *cgroup.Host { return k.cgroups }

// Prefixes of folders that are not workloads yet, or no more.
const (
	prefixNew  = ".new-"
	prefixGone = ".gone-"
)

// leftoverAge is when a half-made folder must be that of an agent that died.
const leftoverAge = 10 * time.Minute

// sweep deletes what an agent that was killed in Create or Remove has left.
func (k *Keeper) sweep() {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefixNew) && !strings.HasPrefix(e.Name(), prefixGone) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			if err := removeTree(filepath.Join(k.cfg.Dir, e.Name())); err != nil {
				k.log.Warn("what is left of a workload cannot be deleted", "error", err)
			}
		}
	}
}

// folder is the name of a workload's folder.
func folder(id string, generation uint64) string {
	return id + "-" + strconv.FormatUint(generation, 10)
}

func (k *Keeper) handle(id string, generation uint64) drivers.Handle {
	return drivers.Handle{Driver: k.cfg.Name, Version: k.cfg.HandleVersion, ID: id, Generation: generation}
}

// parseFolder is the reverse of folder.
func parseFolder(s string) (id string, generation uint64, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return "", 0, false
	}
	generation, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil || (drivers.Spec{ID: s[:i]}).Check() != nil {
		return "", 0, false
	}
	return s[:i], generation, true
}

// Workload is a place to work on one workload from.
type Workload struct {
	Key string // name of its folder, and of the workload on this node
	Dir string // its folder, which may be gone
	k   *Keeper
	op  string // of the call, for errors
	id  string
}

// Open finds the folder that h names; the folder may be gone.
func (k *Keeper) Open(op string, h drivers.Handle) (*Workload, error) {
	if h.Driver != k.cfg.Name || h.Version != k.cfg.HandleVersion {
		return nil, drivers.Errorf(drivers.ErrInvalid, op, h.ID, "handle of driver %q version %d; this driver reads %q version %d", h.Driver, h.Version, k.cfg.Name, k.cfg.HandleVersion)
	}
	if err := (drivers.Spec{ID: h.ID}).Check(); err != nil {
		return nil, drivers.Errorf(drivers.ErrInvalid, op, h.ID, "%w", err)
	}
	key := folder(h.ID, h.Generation)
	return &Workload{Key: key, Dir: filepath.Join(k.cfg.Dir, key), k: k, op: op, id: h.ID}, nil
}

// Errorf returns an error of the call that w was opened for.
func (w *Workload) Errorf(class error, format string, args ...any) error {
	return drivers.Errorf(class, w.op, w.id, format, args...)
}

// Fail gives an error of the operating system its class.
func (w *Workload) Fail(err error) error { return w.Errorf(Class(err), "%w", err) }

// Class is the class of an error of the operating system.
func Class(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return drivers.ErrDenied
	case isExhausted(err):
		return drivers.ErrExhausted
	default:
		return drivers.ErrUnavailable
	}
}

func isExhausted(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EAGAIN) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
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
