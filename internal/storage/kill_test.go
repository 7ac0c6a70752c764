package storage_test

func childMain() bool { return false }
