package external

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Prefix begins the file names of driver programs; the name of the runtime
// follows.
const Prefix = "edgedriver-"

// Find returns the driver programs in dirs, by the name of their runtime. If
// two have the same name, that of the earlier folder is taken. A folder that is
// not there has none. What could not be looked at is told by the error; the
// rest is returned all the same.
func Find(dirs ...string) (map[string]string, error) {
	found := map[string]string{}
	var errs []error
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("look for driver programs: %w", err))
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), Prefix)
			if !ok || !validName(name) || found[name] != "" {
				continue
			}
			path := filepath.Join(dir, e.Name())
			info, err := os.Stat(path)
			switch {
			case err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
			case info.Mode().Perm()&0o002 != 0:
				errs = append(errs, fmt.Errorf("driver program %s is left out: everybody may write to it; chmod o-w it", path))
			default:
				found[name] = path
			}
		}
	}
	return found, errors.Join(errs...)
}

// validName tells whether a runtime may have this name. That leaves out what
// editors and package managers leave lying about, such as name.bak or name~.
func validName(name string) bool {
	outside := func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }
	return name != "" && len(name) <= 40 && !strings.ContainsFunc(name, outside)
}
