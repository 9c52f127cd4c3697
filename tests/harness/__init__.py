"""What tests share: folders, processes, Postern's daemons, real mail servers. Standard library only."""
