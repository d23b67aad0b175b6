package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// BackupFile writes a consistent copy of the store to path, mode 0600. The
// file appears whole or not at all; one that is there is replaced.
func BackupFile(ctx context.Context, from Backuper, path string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".part-*")
	if err != nil {
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up to %s: %w", path, err)
			_ = os.Remove(temp.Name())
		}
	}()
	_, err = from.Backup(ctx, temp)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
