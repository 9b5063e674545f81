"""A store on another machine, reached through SFTP."""
