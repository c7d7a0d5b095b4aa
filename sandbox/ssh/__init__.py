"""SSH into the slots' containers, as Azure has it: Kudu's tunnel, an sshd for each container, real processes.

A session has the image's folder as `/app`, but not the app settings: sshd does not hand on the environment of the
container's first process, and images that do it by themselves are the exception.
"""
