package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs is a folder with the programs of edgeIO.
type Programs struct{ Dir string }

// Build builds the programs into dir, with the race detector if the caller was
// built with it.
func Build(ctx context.Context, dir string) (Programs, error) {
	if err := noteSources(repository); err != nil {
		return Programs{}, err
	}
	programs := []string{"./agent/cmd/edgeagent", "./control/cmd/edgecontrol", "./control/cmd/edgectl"}
	if err := build(ctx, dir, raceEnabled, programs...); err != nil {
		return Programs{}, err
	}
	// edgeshim is always built as it is shipped: there is one per job, and the
	// detector would make each ten times as large.
	return Programs{dir}, build(ctx, dir, false, "./drivers/cmd/edgeshim")
}

// repository is its root, from where the tests run.
const repository = "../.."

// noteSources looks at each source file: "go test" notes that, and does not
// take the result of a run with other programs from its cache.
func noteSources(root string) error {
	for _, dir := range []string{"agent", "capabilities", "control", "drivers", "proto"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".go" {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("note the sources: %w", err)
		}
	}
	return nil
}

func build(ctx context.Context, dir string, race bool, packages ...string) error {
	args, cgo := []string{"build", "-o", dir + string(filepath.Separator)}, "CGO_ENABLED=0"
	if race {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", packages, err, out)
	}
	return nil
}

func (p Programs) path(name string) string { return filepath.Join(p.Dir, name) }
