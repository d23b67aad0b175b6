// Package native runs workloads as plain processes of the node: a program or
// script, limited by control groups, as the user that the job or the node names.
//
// What keeps them alive while agents come and go is in package process; here
// is what to run and as whom, and further commands in a job. README.md says what a job may rely on.
package native

import (
	"log/slog"
	"os"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
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

// Driver implements drivers.Driver for processes. It is safe for concurrent use.
type Driver struct {
	*process.Keeper
	cfg Config
}

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Execer      = (*Driver)(nil)
	_ drivers.StatsReader = (*Driver)(nil)
)

// New returns the driver for the workloads in cfg.Dir.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	if cfg.DefaultUser == "" && os.Geteuid() == 0 {
		cfg.DefaultUser = "nobody"
	}
	k, err := process.New(process.Config{
		Name: name, HandleVersion: handleVersion, Dir: cfg.Dir, ShimPath: cfg.ShimPath,
		LogBytes: cfg.LogBytes, LogFiles: cfg.LogFiles, CgroupRoot: cfg.CgroupRoot, CgroupParent: cfg.CgroupParent,
		StartFailure: startFailure,
	}, log)
	if err != nil {
		return nil, err
	}
	return &Driver{k, cfg}, nil
}
