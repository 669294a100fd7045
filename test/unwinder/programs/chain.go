// Listens at the end of a chain of calls, on the main goroutine and on another one.
package main

import (
	"net"
	"os"
)

//go:noinline
func openSocket() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return listener.Close()
}

//go:noinline
func third(depth int) error {
	if depth > 0 {
		return third(depth - 1)
	}
	return openSocket()
}

//go:noinline
func second() error { return third(1) }

func main() {
	done := make(chan error)
	if len(os.Args) > 1 && os.Args[1] == "goroutine" {
		go func() { done <- second() }()
	} else {
		go func() { done <- nil }()
		if err := second(); err != nil {
			panic(err)
		}
	}
	if err := <-done; err != nil {
		panic(err)
	}
}
