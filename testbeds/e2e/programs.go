package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs is a folder with the programs of edgeIO.
type Programs struct{ Dir string }

// Build builds the programs into dir, with the race detector if the caller was
// built with it.
func Build(ctx context.Context, dir string) (Programs, error) {
	programs := []string{"./agent/cmd/edgeagent", "./control/cmd/edgecontrol", "./control/cmd/edgectl"}
	if err := build(ctx, dir, raceEnabled, programs...); err != nil {
		return Programs{}, err
	}
	// edgeshim is always built as it is shipped: there is one per job, and the
	// detector would make each ten times as large.
	return Programs{dir}, build(ctx, dir, false, "./drivers/cmd/edgeshim")
}

func build(ctx context.Context, dir string, race bool, packages ...string) error {
	args, cgo := []string{"build", "-o", dir + string(filepath.Separator)}, "CGO_ENABLED=0"
	if race {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", packages, err, out)
	}
	return nil
}

func (p Programs) path(name string) string { return filepath.Join(p.Dir, name) }
