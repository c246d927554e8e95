"""The console proxy: a guest's console in a browser, without a route to the hypervisor."""
