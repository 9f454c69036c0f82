from kdrecon.cli import main

main()
