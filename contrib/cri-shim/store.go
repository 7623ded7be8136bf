// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Store keeps the sandboxes in a folder, one JSON file each, so that they outlive the shim. It is not safe for use by
// several goroutines at a time.
type Store struct {
	dir  string
	lock *os.File
	byID map[string]*Sandbox
}

// openStore reads the folder, which it makes if it has to, and keeps other shims out of it.
func openStore(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err = os.MkdirAll(filepath.Join(dir, "netns"), 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is in use: %w", dir, err)
	}
	s := &Store{dir, lock, make(map[string]*Sandbox)}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, file := range files {
		if err != nil {
			break
		}
		err = s.load(file)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) close() { s.lock.Close() }

func (s *Store) load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sandbox := new(Sandbox)
	if err = json.Unmarshal(text, sandbox); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if file != s.path(sandbox.ID) {
		return fmt.Errorf("%s: is of sandbox %q", file, sandbox.ID)
	}
	s.byID[sandbox.ID] = sandbox
	return nil
}

func (s *Store) path(id string) string { return filepath.Join(s.dir, id+".json") }

// netns is the file for the netns of a sandbox.
func (s *Store) netns(id string) string { return filepath.Join(s.dir, "netns", id) }

// put stores a sandbox: whole, under its name only when it is on the disk.
func (s *Store) put(sandbox *Sandbox) error {
	text, err := json.Marshal(sandbox)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(s.dir, "new-")
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), s.path(sandbox.ID))
	}
	if err != nil {
		os.Remove(file.Name())
		return err
	}
	s.byID[sandbox.ID] = sandbox
	return nil
}

// remove forgets a sandbox.
func (s *Store) remove(id string) error {
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(s.byID, id)
	return nil
}

// find finds a sandbox by its ID or by the start of one, as long as that is no other's too.
func (s *Store) find(id string) (*Sandbox, error) {
	if found := s.byID[id]; found != nil {
		return found, nil
	}
	var found *Sandbox
	for known, sandbox := range s.byID {
		if id == "" || !strings.HasPrefix(known, id) {
			continue
		}
		if found != nil {
			return nil, failure(invalid, "sandbox %q: several begin like this", id)
		}
		found = sandbox
	}
	if found == nil {
		return nil, failure(notFound, "sandbox %q: no such sandbox", id)
	}
	return found, nil
}

// all lists the sandboxes, the newest first.
func (s *Store) all() []*Sandbox {
	list := make([]*Sandbox, 0, len(s.byID))
	for _, sandbox := range s.byID {
		list = append(list, sandbox)
	}
	slices.SortFunc(list, func(a, b *Sandbox) int { return int(b.CreatedAt - a.CreatedAt) })
	return list
}
