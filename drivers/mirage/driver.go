// Package mirage runs Solo5 unikernels, such as those of MirageOS: each is one
// process of its tender, kept alive by package process. It decides which tender
// runs an image, gives the guest memory, network and blocks, and words how it
// has ended. README.md says what a job may rely on.
//
// It never looks at an image's name: what it is is read by package solo5.
package mirage

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

const (
	name          = "mirage"
	handleVersion = 1

	// nobody is whom guests run as, if the agent is root.
	nobody = 65534

	defaultNetwork = "10.97.0.0/24"
)

// Config of the driver. Zero values mean the defaults.
type Config struct {
	// Dir is where workloads have their folders; it is created. Its parents
	// must let others pass (mode o+x).
	Dir string
	// ShimPath is the edgeshim program; default: beside the agent's own.
	ShimPath string
	// HVT and SPT are tenders for these targets; default: the newest solo5-hvt
	// and solo5-spt in $PATH, and for hvt EdgeHVT if there is none.
	HVT, SPT string
	// EdgeHVT is the tender of our own; default: beside the agent.
	EdgeHVT string
	// QEMU runs virtio images; default: qemu-system-x86_64 in $PATH.
	QEMU string
	// NoEmulation forbids QEMU to run without KVM.
	NoEmulation bool
	// Network is what guests get addresses from, in CIDR form; its first
	// address is the node's. Default: 10.97.0.0/24.
	Network string
	// BlockBytes is the size of block devices. Zero: images that have some are refused.
	BlockBytes int64
	// LogBytes and LogFiles bound a workload's log; default: 3 files of 10 MiB.
	LogBytes int64
	LogFiles int
	// CgroupRoot is where control groups are mounted; default /sys/fs/cgroup.
	// CgroupParent is the group that ours are made in; default "edgeio".
	CgroupRoot, CgroupParent string
}

// Driver implements drivers.Driver for unikernels. It is safe for concurrent use.
type Driver struct {
	*process.Keeper
	cfg     Config
	log     *slog.Logger
	network *network

	mu        sync.Mutex
	tenders   map[solo5.Target]choice // as last looked for
	qemuOnKVM *bool                   // whether that works; nil: not tried yet
}

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.StatsReader = (*Driver)(nil)
)

// New returns the driver for the workloads in cfg.Dir.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	if cfg.EdgeHVT == "" {
		path, err := process.Beside("edgehvt")
		if err != nil {
			return nil, fmt.Errorf("mirage driver: %w", err)
		}
		cfg.EdgeHVT = path
	}
	if cfg.Network == "" {
		cfg.Network = defaultNetwork
	}
	prefix, err := netip.ParsePrefix(cfg.Network)
	if err != nil || !prefix.Addr().Is4() || prefix.Bits() < 16 || prefix.Bits() > 29 {
		return nil, fmt.Errorf("mirage driver: network %q: want one of IPv4 with 16 to 29 bits, such as %s", cfg.Network, defaultNetwork)
	}
	d := &Driver{cfg: cfg, log: log}
	d.Keeper, err = process.New(process.Config{
		Name: name, HandleVersion: handleVersion, Dir: cfg.Dir, ShimPath: cfg.ShimPath,
		LogBytes: cfg.LogBytes, LogFiles: cfg.LogFiles, CgroupRoot: cfg.CgroupRoot, CgroupParent: cfg.CgroupParent,
		Explain: d.explain,
	}, log)
	if err != nil {
		return nil, err
	}
	dir := d.Config().Dir
	d.network, err = newNetwork(filepath.Join(dir, ".net"), prefix.Masked(), fmt.Sprintf("edgeio-%08x", process.Hash(dir)), log)
	if err != nil {
		return nil, fmt.Errorf("mirage driver: %w", err)
	}
	d.network.sweep(func(key string) bool {
		_, err := os.Stat(filepath.Join(dir, key))
		return err == nil
	})
	return d, nil
}

// Start implements drivers.Driver. The network is set up each time: the node
// may have been restarted.
func (d *Driver) Start(ctx context.Context, h drivers.Handle) error {
	w, err := d.Open("start", h)
	if err != nil {
		return err
	}
	if err := d.network.up(ctx, w.Key); err != nil {
		return w.Errorf(networkClass(err), "%w", err)
	}
	return d.Keeper.Start(ctx, h)
}

// Status implements drivers.Driver.
func (d *Driver) Status(ctx context.Context, h drivers.Handle) (drivers.Status, error) {
	st, err := d.Keeper.Status(ctx, h)
	if err != nil {
		return st, err
	}
	w, err := d.Open("status", h)
	if err != nil {
		return st, err
	}
	if r, ok := d.network.read(w.Key); ok {
		st.Address = r.Address.String()
	}
	return st, nil
}

// Remove implements drivers.Driver.
func (d *Driver) Remove(ctx context.Context, h drivers.Handle) error {
	w, err := d.Open("remove", h)
	if err != nil {
		return err
	}
	if err := d.Keeper.Remove(ctx, h); err != nil {
		return err
	}
	if err := d.network.down(ctx, w.Key); err != nil {
		return w.Errorf(networkClass(err), "%w", err)
	}
	return nil
}
