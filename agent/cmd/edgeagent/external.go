package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/external"
)

// addPrograms adds the drivers that are programs of their own. One that has the
// name of a driver in here is left out: what a job gets must not depend on what
// somebody has put into a folder.
func addPrograms(all map[string]drivers.Driver, s setup) {
	dirs := []string{s.cfg.Drivers.Dir}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Join(filepath.Dir(self), "drivers"), filepath.Dir(self))
	}
	programs, err := external.Find(dirs...)
	if err != nil {
		s.log.Error("some driver programs are left out", "error", err)
	}
	builtin := builders()
	for name, path := range programs {
		if slices.Contains(s.cfg.Drivers.Disabled, name) {
			continue
		}
		if builtin[name] != nil {
			s.log.Error("a driver program is left out: the agent has a driver of that name; rename the program", "program", path, "driver", name)
			continue
		}
		d, err := external.New(external.Config{
			Path: path, Name: name, Dir: filepath.Join(s.cfg.StateDir, "drivers", name), AgentID: s.agentID,
		}, s.log.With("driver", name))
		if err != nil {
			all[name] = unusable{name, err}
			continue
		}
		all[name] = d
	}
}

// closeDrivers ends what drivers have of their own, such as programs. Workloads
// go on.
func closeDrivers(all map[string]drivers.Driver) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(all))
	for _, d := range all {
		if c, ok := d.(io.Closer); ok {
			wg.Go(func() { errs <- c.Close() })
		}
	}
	wg.Wait()
	close(errs)
	var joined error
	for err := range errs {
		joined = errors.Join(joined, err)
	}
	return joined
}
