;;; ragmacs-srv-collections.el --- Add, update and remove what is indexed  -*- lexical-binding: t; -*-

;; Author: The ragmacs-srv maintainers
;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; `ragmacs-srv-add' makes a collection of what point is at: a page, a node of
;; Info, a manual page, a file or a folder.  What would be read is shown, and
;; read when that is agreed to.  `ragmacs-srv-collections' is the list of all.
;;
;; Over its connection the server takes no address of this machine, as models
;; speak there, too.  So plans and removals are made by the program in a
;; process of its own; the reading, with its progress, is done by the server.

;;; Code:

(require 'json)
(require 'ragmacs-srv)
(require 'tabulated-list)

(declare-function dired-get-filename "dired" (&optional localp no-error-if-not-filep))
(declare-function eww-current-url "eww" ())
(defvar Info-current-file)
(defvar Man-arguments)

;;;; The program, as a shell calls it

(defun ragmacs-srv-collections--command (arguments)
  "Return the command line with ARGUMENTS of the program in `ragmacs-srv-command'."
  (let ((serve (or (member "serve" ragmacs-srv-command)
                   (user-error "There is no \"serve\" in `ragmacs-srv-command'"))))
    (append (butlast ragmacs-srv-command (length serve))
            (list (car arguments) "--json") (remove "--stdio" (cdr serve)) (cdr arguments))))

(defun ragmacs-srv-collections--run (arguments success &optional failure)
  "Run the program with ARGUMENTS; call SUCCESS with what it prints, a plist.
Call FAILURE with an error, as that of `ragmacs-srv-request', where it prints
nothing; without it, the error is shown.  Return the process."
  (let ((out (generate-new-buffer " *ragmacs out*"))
        (err (generate-new-buffer " *ragmacs err*"))
        (default-directory (if (file-remote-p default-directory) (expand-file-name "~/") default-directory)))
    (make-process
     :name "ragmacs" :buffer out :connection-type 'pipe :coding 'utf-8-unix :noquery t
     :command (ragmacs-srv-collections--command arguments)
     :stderr (make-pipe-process :name "ragmacs err" :buffer err :noquery t :sentinel #'ignore)
     :sentinel (lambda (process _event)
                 (unless (process-live-p process)
                   (unwind-protect
                       (ragmacs-srv-collections--end out err success (or failure #'ragmacs-srv-show-error))
                     (kill-buffer out)
                     (kill-buffer err)))))))

(defun ragmacs-srv-collections--end (out err success failure)
  "Call SUCCESS with what stands in OUT, or FAILURE with what stands in ERR.
A program that was killed has said nothing at all."
  (let ((printed (ragmacs-srv-collections--json out)))
    (when-let ((pipe (and (not printed) (get-buffer-process err))))
      (accept-process-output pipe 0.2)) ; its last words may come behind its end
    (with-demoted-errors "ragmacs: %S"
      (if printed
          (funcall success printed)
        (funcall failure (or (plist-get (ragmacs-srv-collections--json err) :error)
                             (list :code -1 :message (with-current-buffer err
                                                       (let ((said (string-trim (buffer-string))))
                                                         (if (string-empty-p said) "the program was stopped" said))))))))))

(defun ragmacs-srv-collections--json (buffer)
  "Return the first JSON object in BUFFER as a plist, or nil."
  (with-current-buffer buffer
    (goto-char (point-min))
    (when (search-forward "{" nil t)
      (backward-char)
      (let ((json-object-type 'plist) (json-array-type 'list) (json-false nil) (json-null nil))
        (ignore-errors (json-read))))))

;;;; Adding

(defvar-local ragmacs-srv-plan--arguments nil
  "The arguments of `ragmacs add' for what this buffer shows the plan of.")

(defvar-local ragmacs-srv-plan--names nil
  "The names of the collections in the plan of this buffer, once there is one.")

(defvar-local ragmacs-srv-plan--process nil
  "The process that is at work on the plan for this buffer.")

(defvar ragmacs-srv-plan-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map "y" #'ragmacs-srv-plan-agree)
    (define-key map "n" #'quit-window)
    map)
  "Keys of `ragmacs-srv-plan-mode'.")

(define-derived-mode ragmacs-srv-plan-mode special-mode "Ragmacs plan"
  "Major mode of what would be read.
\\<ragmacs-srv-plan-mode-map>\\[ragmacs-srv-plan-agree] has it read, \\[quit-window] forgets it."
  (add-hook 'kill-buffer-hook #'ragmacs-srv-plan--stop nil t)
  (visual-line-mode))

;;;###autoload
(defun ragmacs-srv-add (address)
  "Show what would be read of ADDRESS, and have it read when you agree.
ADDRESS is anything that `ragmacs add' understands: of a page or a site, a
file or a folder, (elisp)Node, ls(1), godoc:sync, a tag of Stack Overflow."
  (interactive (list (ragmacs-srv-collections--read-address)))
  (let ((folder default-directory))
    (with-current-buffer (get-buffer-create "*ragmacs plan*")
      (ragmacs-srv-plan--stop)
      (ragmacs-srv-plan-mode)
      (setq default-directory folder
            ragmacs-srv-plan--arguments (list "add" "--yes" "--later" "--" address))
      (ragmacs-srv-plan--write (format "Looking at %s …\n" address))
      (let ((buffer (current-buffer)))
        (setq ragmacs-srv-plan--process
              (ragmacs-srv-collections--run
               (list "add" "--" address)
               (lambda (plan) (ragmacs-srv-plan--show buffer plan))
               (lambda (error)
                 (when (buffer-live-p buffer)
                   (with-current-buffer buffer
                     (ragmacs-srv-plan--write (ragmacs-srv-error-text error) "\n"))))))))
    (pop-to-buffer "*ragmacs plan*")))

(defun ragmacs-srv-plan--stop ()
  "Stop the process that is at work on the plan of this buffer."
  (when (process-live-p ragmacs-srv-plan--process)
    (set-process-sentinel ragmacs-srv-plan--process #'ignore)
    (delete-process ragmacs-srv-plan--process)))

(defun ragmacs-srv-plan--write (&rest text)
  "Replace what is in this buffer by TEXT."
  (let ((inhibit-read-only t))
    (erase-buffer)
    (apply #'insert text)
    (goto-char (point-min))))

(defun ragmacs-srv-plan--show (buffer plan)
  "Show PLAN, as `ragmacs add' gives it, in BUFFER."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (setq ragmacs-srv-plan--names (mapcar (lambda (each) (plist-get each :name)) (plist-get plan :plans)))
      (ragmacs-srv-plan--write
       (plist-get plan :text) "\n\n"
       (substitute-command-keys
        "\\<ragmacs-srv-plan-mode-map>\\[ragmacs-srv-plan-agree] reads this, \\[quit-window] forgets it.\n")))))

(defun ragmacs-srv-plan-agree ()
  "Carry out the plan in this buffer, with its progress in the mode line."
  (interactive)
  (let ((names (or ragmacs-srv-plan--names (user-error "There is no plan to agree to"))))
    (ragmacs-srv-collections--run ragmacs-srv-plan--arguments
                                  (lambda (_) (ragmacs-srv-index-build names)))
    (quit-window)))

(defun ragmacs-srv-collections--read-address ()
  "Read what to add; the default is what this buffer is about."
  (let* ((here (ragmacs-srv-collections--here))
         (typed (string-trim (read-string (format-prompt "Add (address, path, info:elisp, …)" here) nil nil here))))
    (if (string-empty-p typed) (user-error "Give an address") typed)))

(defun ragmacs-srv-collections--here ()
  "Return the address, as `ragmacs add' takes it, of what this buffer is about."
  (cond ((derived-mode-p 'Info-mode)
         (and (stringp Info-current-file)
              (concat "info:" (replace-regexp-in-string "\\.info.*\\'" "" (file-name-nondirectory Info-current-file)))))
        ((derived-mode-p 'Man-mode) (ragmacs-srv-collections--man Man-arguments))
        ((derived-mode-p 'dired-mode) (or (dired-get-filename nil t) (expand-file-name default-directory)))
        ((ragmacs-srv--address-here))
        ((and buffer-file-name (not (file-remote-p buffer-file-name)) (derived-mode-p 'text-mode 'doc-view-mode 'pdf-view-mode))
         buffer-file-name)))

(defun ragmacs-srv-collections--man (arguments)
  "Return the address of the manual page for ARGUMENTS, those of man."
  (pcase (split-string (or arguments ""))
    (`(,section ,name) (format "man:%s(%s)" name section))
    (`(,name) (concat "man:" name))))

;;;; Updating

;;;###autoload
(defun ragmacs-srv-update (collection)
  "Read what changed in COLLECTION, or in all where none is named.
The mode line says how far that is; `ragmacs-srv-cancel' stops it."
  (interactive (list (completing-read (format-prompt "Update" "all") (ragmacs-srv--collections))))
  (ragmacs-srv--work :index/update (if (string-empty-p collection) nil (list :collection collection))
                     (if (string-empty-p collection) "update" collection)
                     #'ragmacs-srv--indexed))

;;;; The list

(defvar ragmacs-srv-collections-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map "\r" #'ragmacs-srv-collections-pages)
    (define-key map "+" #'ragmacs-srv-add)
    (define-key map "u" #'ragmacs-srv-collections-update)
    (define-key map "d" #'ragmacs-srv-collections-remove)
    map)
  "Keys of `ragmacs-srv-collections-mode'.")

(define-derived-mode ragmacs-srv-collections-mode tabulated-list-mode "Ragmacs collections"
  "Major mode of the list of collections.

\\<ragmacs-srv-collections-mode-map>\\[ragmacs-srv-collections-pages] lists the pages of one, \\[ragmacs-srv-collections-update] reads what changed in it, or all
of it for the first time; \\[ragmacs-srv-collections-remove] removes it, \\[ragmacs-srv-add] adds another."
  (setq tabulated-list-format [("Name" 24 t) ("Pages" 7 ragmacs-srv-collections--fewer :right-align t)
                               ("Age" 10 t) ("State" 14 t) ("Title" 0 t)]
        tabulated-list-sort-key '("Name"))
  (setq-local revert-buffer-function (lambda (&rest _) (ragmacs-srv-collections--refresh)))
  (add-hook 'ragmacs-srv-indexed-hook #'ragmacs-srv-collections--refresh)
  (tabulated-list-init-header))

(defun ragmacs-srv-collections--fewer (one other)
  "Return non-nil if the entry ONE has fewer pages than OTHER."
  (< (string-to-number (aref (cadr one) 1)) (string-to-number (aref (cadr other) 1))))

;;;###autoload
(defun ragmacs-srv-collections ()
  "List the collections: those that are indexed, and those that could be."
  (interactive)
  (with-current-buffer (get-buffer-create "*ragmacs collections*")
    (unless (derived-mode-p 'ragmacs-srv-collections-mode)
      (ragmacs-srv-collections-mode)))
  (ragmacs-srv-collections--refresh)
  (pop-to-buffer "*ragmacs collections*"))

(defun ragmacs-srv-collections--refresh ()
  "Fill the list of collections anew, if there is one."
  (when-let ((buffer (get-buffer "*ragmacs collections*")))
    (ragmacs-srv-collections--run
     '("collections")
     (lambda (found)
       (when (buffer-live-p buffer)
         (with-current-buffer buffer
           (setq tabulated-list-entries (mapcar #'ragmacs-srv-collections--entry (plist-get found :collections)))
           (tabulated-list-print t)))))))

(defun ragmacs-srv-collections--entry (collection)
  "Return the entry of the list for COLLECTION, as the program gives it."
  (pcase-let (((map :name :pages :age :state :title) collection))
    (list name (vector name (if (member pages '(nil 0)) "-" (number-to-string pages))
                       (or age "") (or state "") (or title "")))))

(defun ragmacs-srv-collections--at-point ()
  "Return the entry at point."
  (or (tabulated-list-get-entry) (user-error "There is no collection here")))

(defun ragmacs-srv-collections-update ()
  "Read what changed in the collection at point, or all of it for the first time."
  (interactive)
  (let ((entry (ragmacs-srv-collections--at-point)))
    (if (equal (aref entry 1) "-")
        (ragmacs-srv-index-build (list (aref entry 0)))
      (ragmacs-srv-update (aref entry 0)))))

(defun ragmacs-srv-collections-remove ()
  "Remove the collection at point, and its file if nobody changed that."
  (interactive)
  (let ((name (aref (ragmacs-srv-collections--at-point) 0)))
    (when (yes-or-no-p (format "Remove the collection %s? " name))
      (ragmacs-srv-collections--run
       (list "remove" "--" name)
       (lambda (result)
         (message "ragmacs: removed %d pages of %s" (plist-get result :removed) name)
         (run-hooks 'ragmacs-srv-indexed-hook))))))

;;;; The pages of one

(defvar ragmacs-srv-pages-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map "\r" #'ragmacs-srv-pages-read)
    (define-key map "o" #'ragmacs-srv-pages-open)
    map)
  "Keys of `ragmacs-srv-pages-mode'.")

(define-derived-mode ragmacs-srv-pages-mode tabulated-list-mode "Ragmacs pages"
  "Major mode of the pages of a collection.

\\<ragmacs-srv-pages-mode-map>\\[ragmacs-srv-pages-read] shows one as it is stored, \\[ragmacs-srv-pages-open] opens it at its place."
  (setq tabulated-list-format [("Read" 11 t) ("Title" 50 t) ("Address" 0 t)])
  (tabulated-list-init-header))

(defun ragmacs-srv-collections-pages ()
  "List the pages of the collection at point."
  (interactive)
  (let* ((name (aref (ragmacs-srv-collections--at-point) 0))
         (buffer (get-buffer-create (format "*ragmacs pages: %s*" name))))
    (ragmacs-srv-collections--run
     (list "collections" "--" name)
     (lambda (found)
       (with-current-buffer buffer
         (ragmacs-srv-pages-mode)
         (setq tabulated-list-entries
               (append (mapcar #'ragmacs-srv-pages--entry (plist-get found :pages))
                       (mapcar #'ragmacs-srv-pages--entry (plist-get found :without))))
         (tabulated-list-print))
       (pop-to-buffer buffer)))))

(defun ragmacs-srv-pages--entry (page)
  "Return the entry of the list for PAGE; one that gave none has a reason."
  (pcase-let (((map :url :title :fetched_at :status :reason :at) page))
    (list url (vector (substring (or fetched_at at "          ") 0 10)
                      (if reason (format "%s: %s" status reason) (or title ""))
                      url))))

(defun ragmacs-srv-pages--url ()
  "Return the address of the page at point."
  (or (tabulated-list-get-id) (user-error "There is no page here")))

(defun ragmacs-srv-pages-read ()
  "Show the page at point as it is stored."
  (interactive)
  (ragmacs-srv-read (ragmacs-srv-pages--url)))

(defun ragmacs-srv-pages-open ()
  "Open the page at point: in EWW, Info, its file."
  (interactive)
  (ragmacs-srv-open (ragmacs-srv-pages--url)))

(provide 'ragmacs-srv-collections)
;;; ragmacs-srv-collections.el ends here
